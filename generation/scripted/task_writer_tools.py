"""The stand-in's task writer for tools of any origin: it knows their specs and, if the domain has data, some rows of
it.

Each move adds one call. Its arguments come from what an earlier task told the user (in a follow-up), from the result of
an earlier call of the task, from one row of the view, or are invented; the phrase of its subgoal mentions every value.

    plan      find_user_id_by_email(email=ann@x.org), get_order(user_id=${0})
    subgoals  "look for the user id by email for email ann@x.org",
              "find out the status from the order for the user id from the user id by email"
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

from core.messages import ToolSpec
from core.schemas import schema_error
from generation.llm.contexts import TaskWriterContext
from generation.scripted.drafts import Draft, answer_of, compose, join, next_target, spoken
from generation.scripted.policy_keeping import allowed_values
from generation.scripted.tool_fields import (
    HIDDEN,
    SCALARS,
    Parameter,
    parameters,
    returned_kind,
    returns_many,
    scalar_fields,
)
from generation.scripted.tool_values import ViewRow, best_object, field_names, from_row, invent
from generation.scripted.verbs import spoken_action
from generation.specs.naming import changes, creates, entity_words, is_identifier, verb
from generation.specs.resolved_schema import kind
from generation.specs.spelling import snake, words
from generation.tasks.grounding import finder

_STATES = {"pending", "delivered", "active", "inactive", "open", "closed", "cancelled", "unpaid", "overdue", "draft"}


def answer(context: TaskWriterContext, rng: Random) -> str:
    """One task as JSON, in the format of a real model; about invented records if the rows allow none."""
    draft = compose(context, rng, ToolTaskWriter(context, rng, strict=True).move)
    if not draft.plan:
        draft = compose(context, rng, ToolTaskWriter(context, rng, strict=False).move)
    return answer_of(draft, context)


class Argument(NamedTuple):
    """A value for a parameter, and the words that mention it: ("city", "Graz", "city Graz")."""

    name: str
    value: Any
    phrase: str


class ToolTaskWriter:
    """Plans one call per move. With `strict`, identifiers are never invented as long as the view has rows."""

    def __init__(self, context: TaskWriterContext, rng: Random, strict: bool) -> None:
        self.context = context
        self.tools = context.tools
        self.policy = context.policy
        self.by_name = {tool.name: tool for tool in context.tools}
        learnt = context.facts.items() if context.want_follow_up else ()
        self.facts = {snake(name): value for name, value in learnt if isinstance(value, str | int | float)}
        self.rng = rng
        self.rows = [ViewRow(table, row) for table, rows in sorted(context.view.items()) for row in rows if row]
        self.strict = strict and bool(self.rows)
        self.last_row: ViewRow | None = None
        self.single_valued = {t.name for t in self.tools if returned_kind(t) in SCALARS and entity_words(t.name)}
        self.returned = {tool.name: self._returned(tool) for tool in self.tools}
        self.chains = context.difficulty != "easy"

    def _returned(self, tool: ToolSpec) -> dict[str, str]:
        """Field -> type of what a call offers to later ones. A single value is named after the tool's entity:
        find_user_id returning a string -> {"user_id": "string"}."""
        if tool.name in self.single_valued:
            return {"_".join(entity_words(tool.name)): returned_kind(tool)}
        return scalar_fields(tool.returns, tool.returns or {}, nested=False)

    def move(self, draft: Draft) -> str | None:
        """Plan one more call, on the best row that has what the tool needs."""
        tool = self._tool(draft)
        for row in self._candidates(tool, draft):
            trial = draft.copy()
            arguments = self._arguments(tool, row, trial)
            if arguments is not None:
                self.last_row = row
                draft.literals, draft.follows = trial.literals, trial.follows
                return self._plan(tool, arguments, row, draft)
        return None

    def _tool(self, draft: Draft) -> ToolSpec:
        """A target tool, or a random one, often one that can use an earlier result or a learnt fact. Changes are
        half as likely as reads, and so are searches in actual data, which find nothing or too much."""
        if target := next_target(self.context, draft, self.rng):
            return self.by_name[target]
        usable = {snake(name) for _, name in draft.available}
        if self.facts and not draft.follows:
            usable = set(self.facts)
        chaining = [tool for tool in self.tools if usable & {parameter.field for parameter in parameters(tool)}]
        tools = chaining if chaining and self.rng.random() < 0.7 else self.tools
        rare = [changes(t.name) or (bool(self.rows) and verb(t.name) == "search") for t in tools]
        return self.rng.choices(tools, [1 if is_rare else 2 for is_rare in rare])[0]

    def _candidates(self, tool: ToolSpec, draft: Draft) -> Sequence[ViewRow | None]:
        """The rows in random order, first those with the required fields and, among them, the row of the last call.
        [None] if the domain has no rows.

        A tool named after a state gets only rows in that state: cancel_pending_order -> orders whose status is
        "pending".
        """
        if not self.rows:
            return [None]
        required = {snake(name) for name in tool.parameters.get("required") or ()}
        name = set(snake(tool.name).split("_"))
        in_state = [row for row in self.rows if _state(row) and _state(row) <= name]
        fitting = in_state if in_state or name & _STATES else self.rows

        def rank(row: ViewRow) -> tuple[int, bool]:
            return len(required - field_names(best_object(row, required))), row != self.last_row or not draft.plan

        return sorted(self.rng.sample(fitting, len(fitting)), key=rank)

    def _arguments(self, tool: ToolSpec, row: ViewRow | None, draft: Draft) -> list[Argument] | None:
        """Arguments for all required parameters and some optional ones; None if one is missing. A change takes the
        values it sets from another row of the table, so that it changes something."""
        required = tool.parameters.get("required") or []
        own = [best_object(row, {snake(name) for name in required}), row] if row else []
        other = self._other_row(row)
        others = [other] if other and changes(tool.name) else []
        arguments: list[Argument] = []
        for parameter in parameters(tool):
            skippable = parameter.optional and self.rng.random() < 0.7
            if skippable and (arguments or required):
                continue
            sources = own if is_identifier(parameter.name) else [*others, *own]
            taken = [argument.value for argument in arguments]
            argument = self._argument(tool.name, parameter, sources, draft, taken)
            if argument:
                arguments.append(argument)
            elif not parameter.optional:
                return None
        values = {argument.name: argument.value for argument in arguments}
        literal = not any(isinstance(value, str) and value.startswith("${") for value in values.values())
        return None if literal and tool.argument_error(values) else arguments

    def _argument(
        self, tool: str, parameter: Parameter, sources: Sequence[ViewRow], draft: Draft, taken: list[Any]
    ) -> Argument | None:
        """An argument from the first origin that has one; `taken` are the values of the arguments before it. What users
        do not know is learnt or looked up."""
        argument = self._from_facts(parameter, draft) or self._from_results(parameter, draft)
        if argument or finder(tool, parameter.name, self.by_name):
            return argument
        if allowed := allowed_values(self.policy, tool, parameter.name):
            return _literal(parameter.name, self.rng.choice(allowed), draft)
        argument = self._from_rows(parameter, sources, draft)
        if argument or (self.strict and is_identifier(parameter.name)):
            return argument
        return self._from_literals(parameter, draft) or self._invented(parameter, draft, taken)

    def _from_facts(self, parameter: Parameter, draft: Draft) -> Argument | None:
        """A fact from an earlier task: always for the first use in a task, then in half of the cases."""
        value = self.facts.get(parameter.field)
        if value is None or schema_error(value, parameter.schema) is not None:
            return None
        if draft.follows and self.rng.random() >= 0.5:
            return None
        draft.follows = True
        return _literal(parameter.name, value, draft)

    def _from_results(self, parameter: Parameter, draft: Draft) -> Argument | None:
        """A placeholder for a field of that name and type in an earlier result, or for the id of such a record:
        order_id after get_order -> ("order_id", "${0.id}", "the order id from the order")."""
        field = parameter.field
        options = [
            Argument(
                parameter.name,
                f"${{{index}}}" if draft.plan[index].tool in self.single_valued else f"${{{index}.{name}}}",
                f"the {words(field)} from the {what}",
            )
            for (what, name), index in draft.available.items()
            if is_identifier(parameter.name)
            and (snake(name) == field or (name == "id" and field == f"{snake(what)}_id"))
            and self.returned[draft.plan[index].tool][name] == kind(parameter.schema)
        ]
        return self.rng.choice(options) if options and self.rng.random() < 0.85 else None

    def _from_rows(self, parameter: Parameter, sources: Sequence[ViewRow], draft: Draft) -> Argument | None:
        """A value from the first row that has one. A list must be as long as that of the row which the call is
        about."""
        if "enum" in parameter.schema:
            return None
        for source in sources:
            value = from_row(source, parameter.name, parameter.schema, self.rng)
            own = from_row(sources[-1], parameter.name, parameter.schema, self.rng) if isinstance(value, list) else None
            if value is not None and (not isinstance(own, list) or len(own) == len(value)):
                return _literal(parameter.name, value, draft)
        return None

    def _from_literals(self, parameter: Parameter, draft: Draft) -> Argument | None:
        """A value that the task has mentioned for the same field."""
        value = draft.literals.get(parameter.field)
        if parameter.field not in draft.literals or schema_error(value, parameter.schema) is not None:
            return None
        return _literal(parameter.name, value, draft)

    def _invented(self, parameter: Parameter, draft: Draft, taken: list[Any]) -> Argument | None:
        """An invented value, different from `taken` if possible: not from one currency to the same."""
        if parameter.optional and "enum" not in parameter.schema and self.rows:
            return None
        for _ in range(12):
            value = invent(parameter.name, parameter.schema, self.rng, len(taken))
            if value not in taken:
                break
        return None if value is None else _literal(parameter.name, value, draft)

    def _other_row(self, row: ViewRow | None) -> ViewRow | None:
        others = [other for other in self.rows if row and other.table == row.table and other != row]
        return self.rng.choice(others) if others else None

    def _plan(self, tool: ToolSpec, arguments: list[Argument], row: ViewRow | None, draft: Draft) -> str | None:
        """Plan the call and return its phrase; None for a read that tells nothing and helps no later call."""
        tell = self._tell(tool, arguments, row, draft)
        helps = self.chains and tool.name in self.single_valued
        if self.rows and not tell and not helps and not changes(tool.name):
            return None
        index = draft.call(tool.name, {argument.name: argument.value for argument in arguments}, tell)
        if not returns_many(tool):  # of several rows, a later call would not know which one is meant
            _, what = spoken_action(tool.name)
            known = {snake(argument.name) for argument in arguments}
            draft.available |= {(what, name): index for name in self.returned[tool.name] if snake(name) not in known}
        return _phrase(tool, arguments, tell)

    def _tell(self, tool: ToolSpec, arguments: list[Argument], row: ViewRow | None, draft: Draft) -> list[str]:
        """Result fields to tell the user: up to two of a read, the identifier of a new record, none of other changes.
        Fields that are known by then, or that another call about the same record returns, are left out."""
        if returns_many(tool) and not arguments:
            return []
        known = HIDDEN | {snake(argument.name) for argument in arguments} | self._returned_before(arguments, draft)
        # Equal numbers may be a coincidence, equal texts are not.
        mentioned = [value for value in draft.literals.values() if isinstance(value, str)]
        values = row.fields if row else {}
        names = [
            name
            for name in scalar_fields(tool.returns, tool.returns or {}, nested=True)
            if snake(name) not in known and values.get(name, "?") not in (None, "", *mentioned)
        ]
        if changes(tool.name):
            return [name for name in names if is_identifier(name)][:1] if creates(tool.name) else []
        return self.rng.sample(names, min(len(names), self.rng.randint(1, 2)))

    def _returned_before(self, arguments: list[Argument], draft: Draft) -> set[str]:
        """Fields that earlier calls return about what may be the same record: calls that share an argument, or where
        one has a placeholder for an argument that both have."""
        mine = {(snake(argument.name), str(argument.value)) for argument in arguments}
        returned: set[str] = set()
        for call in draft.plan:
            theirs = {(snake(name), str(value)) for name, value in call.arguments.items()}
            dynamic = {name for name, value in mine | theirs if value.startswith("${")}
            if mine & theirs or dynamic & {name for name, _ in mine} & {name for name, _ in theirs}:
                returned |= {snake(name) for name in self.returned[call.tool]}
        return returned


def _phrase(tool: ToolSpec, arguments: list[Argument], tell: list[str]) -> str:
    """The subgoal in words:

    - a change: cancel_booking(booking_id=B-77) -> "cancel the booking with booking id B-77"
    - a read, telling "price": get_flight(flight_id=5) -> "find out the price from the flight for flight id 5"
    - another read, telling "price": search_flights(city=Graz) -> "look for the flights for city Graz and see the price"
    """
    doing, what = spoken_action(tool.name)
    details = join([argument.phrase for argument in arguments]) if arguments else ""
    if changes(tool.name):
        return f"{doing} {what}" + (f" with {details}" if details else "")
    told = f"the {join([words(name) for name in tell])}" if tell else ""
    if told and doing == "see the":
        doing, told = f"find out {told} from the", ""
    return f"{doing} {what}" + (f" for {details}" if details else "") + (f" and see {told}" if told else "")


def _state(row: ViewRow) -> set[str]:
    status = row.fields.get("status")
    return set(status.lower().split()) if isinstance(status, str) else set()


def _literal(name: str, value: Any, draft: Draft) -> Argument:
    if not isinstance(value, list | dict):
        draft.literals[snake(name)] = value
    return Argument(name, value, f"{words(name)} {spoken(value)}")
