"""The stand-in's task writer for tools of any origin: it knows their specs and, where there are any, some rows of their data.

Each move is one call. Its arguments come from what an earlier task told (in a follow-up), from the result of an earlier call
of the task, from one row of the view, or are made up; the phrase of its subgoal names every value.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

from core.messages import ToolSpec
from core.schemas import schema_error
from generation.llm.contexts import TaskWriterContext
from generation.scripted.drafts import Draft, answer_of, compose, join
from generation.scripted.schema_values import Schema, kind, resolved
from generation.scripted.tool_values import Record, core, fields, from_record, invent
from generation.scripted.verbs import spoken_deed
from generation.specs.naming import action, changes, creates, entity_words, is_identifier, verb
from generation.specs.spelling import snake, words

_HIDDEN = {"rows_affected", "success", "message", "error", "ok"}
_STATES = {"pending", "delivered", "active", "inactive", "open", "closed", "cancelled", "unpaid", "overdue", "draft"}
_SCALARS = ("string", "integer", "number")


def answer(context: TaskWriterContext, rng: Random) -> str:
    """One task as the JSON a real model gives; where the rows allow none, one about records that nobody has seen."""
    draft = compose(context, rng, ToolWriter(context, rng, strict=True).move)
    if not draft.plan:
        draft = compose(context, rng, ToolWriter(context, rng, strict=False).move)
    return answer_of(draft, context)


class Argument(NamedTuple):
    """A value for a parameter, with the words that name it."""

    name: str
    value: Any
    phrase: str


class ToolWriter:
    """`strict` leaves out tools for whose identifiers the view has no record; without a view none is needed."""

    def __init__(self, context: TaskWriterContext, rng: Random, strict: bool) -> None:
        self.tools = context.tools
        learnt = context.facts.items() if context.want_follow_up else ()
        self.facts = {snake(name): value for name, value in learnt if isinstance(value, str | int | float)}
        self.rng = rng
        self.records = [Record(kind, row) for kind, rows in sorted(context.view.items()) for row in rows if row]
        self.strict = strict and bool(self.records)
        self.record: Record | None = None
        self.whole = {t.name for t in self.tools if _returned_kind(t) in _SCALARS and entity_words(t.name)}
        self.returned = {tool.name: self._returned(tool) for tool in self.tools}
        self.chains = context.difficulty != "easy"

    def _returned(self, tool: ToolSpec) -> dict[str, str]:
        """Field -> type of what a call gives to later ones; a single value goes by what the tool is about (find_user_id)."""
        if tool.name in self.whole:
            return {"_".join(entity_words(tool.name)): _returned_kind(tool)}
        return _scalars(tool.returns, tool.returns or {}, nested=False)

    def move(self, draft: Draft) -> str | None:
        """One more call, on a record that has what the tool needs; of several on the one that the last call was about."""
        tool = self._tool(draft)
        for record in self._candidates(tool, draft):
            trial = draft.copy()
            arguments = self._arguments(tool, record, trial)
            if arguments is not None:
                self.record = record
                draft.said, draft.follows = trial.said, trial.follows
                return self._plan(tool, arguments, record, draft)
        return None

    def _tool(self, draft: Draft) -> ToolSpec:
        """Reading twice as often as changing, unless it is a search in real data, which finds nothing or too much; after a first
        call often a tool that can use its result, in a follow-up one that can use what was learnt."""
        brought = {snake(name) for _, name in draft.known}
        if self.facts and not draft.follows:
            brought = set(self.facts)
        chaining = [tool for tool in self.tools if brought & {snake(name) for name in _parameters(tool)}]
        tools = chaining if chaining and self.rng.random() < 0.7 else self.tools
        seldom = [changes(t.name) or (bool(self.records) and verb(t.name) == "search") for t in tools]
        return self.rng.choices(tools, [1 if rare else 2 for rare in seldom])[0]

    def _candidates(self, tool: ToolSpec, draft: Draft) -> list[Record | None]:
        """The records, those first that hold what the tool requires. A tool whose name speaks of a state that records have
        (cancel_pending_order) is for records in that state."""
        required = {snake(name) for name in tool.parameters.get("required") or ()}
        states = [_state(record) for record in self.records]
        name = set(snake(tool.name).split("_"))
        stateful = bool(name & _STATES) or any(state and state <= name for state in states)
        fitting = [
            r for r, state in zip(self.records, states, strict=True) if not stateful or (state and state <= name)
        ]
        ranked = sorted(
            self.rng.sample(fitting, len(fitting)),
            key=lambda record: (
                len(required - fields(core(record, required).row)),
                record != self.record or not draft.plan,
            ),
        )
        return list(ranked) if self.records else [None]

    def _arguments(self, tool: ToolSpec, record: Record | None, draft: Draft) -> list[Argument] | None:
        """Arguments for all required parameters and some others, or None. A change takes the values it sets from another record
        of the kind, so that there is something to change."""
        required = tool.parameters.get("required") or []
        names = {snake(name) for name in required}
        whole = [core(record, names), record] if record else []
        others = [other for other in [self._other(record)] if other and changes(tool.name)]
        found: list[Argument] = []
        for name, schema in _parameters(tool).items():
            optional = name not in required
            if optional and self.rng.random() < 0.7 and not (required == [] and not found):
                continue
            sources = whole if is_identifier(name) else [*others, *whole]
            taken = [argument.value for argument in found]
            argument = self._argument(name, schema, sources, draft, taken, optional)
            if argument is None and not optional:
                return None
            if argument:
                found.append(argument)
        complete = {argument.name: argument.value for argument in found}
        literal = not any(isinstance(value, str) and value.startswith("${") for value in complete.values())
        return None if literal and tool.argument_error(complete) else found

    def _argument(
        self, name: str, schema: Schema, sources: Sequence[Record], draft: Draft, taken: list[Any], optional: bool
    ) -> Argument | None:
        field = snake(name)
        if (
            field in self.facts
            and schema_error(self.facts[field], schema) is None
            and (not draft.follows or self.rng.random() < 0.5)
        ):
            draft.follows = True
            return _literal(name, self.facts[field], draft)
        chained = self._chained(field, schema, draft) if is_identifier(name) else []
        if chained and self.rng.random() < 0.85:
            return self.rng.choice(chained)._replace(name=name)
        if "enum" not in schema:
            for source in sources:
                value = from_record(source, name, schema, self.rng)
                own = from_record(sources[-1], name, schema, self.rng) if isinstance(value, list) else value
                if value is not None and (not isinstance(own, list) or len(own) == len(value)):
                    return _literal(name, value, draft)
        if is_identifier(name) and self.strict:
            return None
        if field in draft.said and schema_error(draft.said[field], schema) is None:
            return _literal(name, draft.said[field], draft)
        if optional and "enum" not in schema and self.records:
            return None
        for _ in range(12):  # not from one currency to the same, if there are others
            value = invent(name, schema, self.rng, len(taken))
            if value not in taken:
                break
        return None if value is None else _literal(name, value, draft)

    def _chained(self, field: str, schema: Schema, draft: Draft) -> list[Argument]:
        """What results of earlier calls can give for a field: one of that name and type, or the id of such a record."""
        return [
            Argument(
                field,
                f"${{{place}}}" if draft.plan[place].tool in self.whole else f"${{{place}.{known}}}",
                f"the {words(field)} from the {what}",
            )
            for (what, known), place in draft.known.items()
            if (snake(known) == field or (known == "id" and field == f"{snake(what)}_id"))
            and self.returned[draft.plan[place].tool][known] == kind(schema)
        ]

    def _other(self, record: Record | None) -> Record | None:
        others = [other for other in self.records if record and other.kind == record.kind and other != record]
        return self.rng.choice(others) if others else None

    def _plan(self, tool: ToolSpec, arguments: list[Argument], record: Record | None, draft: Draft) -> str | None:
        given = {snake(argument.name) for argument in arguments}
        tell = self._tell(tool, arguments, record, draft)
        helps = self.chains and tool.name in self.whole
        if self.records and not tell and not helps and not changes(tool.name):
            return None
        verb, what = spoken_deed(tool.name)
        place = draft.call(tool.name, {argument.name: argument.value for argument in arguments}, tell)
        if not _many(tool):  # which one would be meant?
            draft.known |= {(what, name): place for name in self.returned[tool.name] if snake(name) not in given}
        details = join([argument.phrase for argument in arguments]) if arguments else ""
        if changes(tool.name):
            return f"{verb} {what}" + (f" with {details}" if details else "")
        told = f"the {join([words(name) for name in tell])}" if tell else ""
        if told and verb == "see the":
            verb, told = f"find out {told} from the", ""
        return f"{verb} {what}" + (f" for {details}" if details else "") + (f" and see {told}" if told else "")

    def _tell(self, tool: ToolSpec, arguments: list[Argument], record: Record | None, draft: Draft) -> list[str]:
        """Result fields to be told: of a reading up to two, of what makes a record its identifier, of other changes none; nothing
        that is known by then, or that another call about the same record returns."""
        if _many(tool) and not arguments:
            return []
        known = _HIDDEN | {snake(argument.name) for argument in arguments} | self._returned_before(arguments, draft)
        row = record.row if record else {}
        fields = [
            name
            for name in _scalars(tool.returns, tool.returns or {}, nested=True)
            if snake(name) not in known and row.get(name, "?") not in (None, "", *_single(draft.said))
        ]
        if changes(tool.name):
            return [name for name in fields if is_identifier(name)][:1] if creates(tool.name) else []
        return self.rng.sample(fields, min(len(fields), self.rng.randint(1, 2)))

    def _returned_before(self, arguments: list[Argument], draft: Draft) -> set[str]:
        """Fields that earlier calls return about what may be the same record: they share an argument, or one of theirs is not
        known before it is looked up."""
        mine = {(snake(argument.name), str(argument.value)) for argument in arguments}
        found: set[str] = set()
        for call in draft.plan:
            theirs = {(snake(name), str(value)) for name, value in call.arguments.items()}
            dynamic = {name for name, value in mine | theirs if value.startswith("${")}
            if mine & theirs or dynamic & {name for name, _ in mine} & {name for name, _ in theirs}:
                found |= {snake(name) for name in self.returned[call.tool]}
        return found


def _many(tool: ToolSpec) -> bool:
    return action(tool.name) in ("list", "rank")


def _parameters(tool: ToolSpec) -> dict[str, Schema]:
    declared = tool.parameters.get("properties") or {}
    return {name: resolved(schema, tool.parameters) for name, schema in declared.items()}


def _returned_kind(tool: ToolSpec) -> str:
    return kind(resolved(tool.returns, tool.returns or {}))


def _scalars(returns: Any, root: Schema, nested: bool) -> dict[str, str]:
    """Field -> type of those fields of a returned object, or of a returned list's objects, that always hold a single value. With
    `nested`, where it has none of its own, those of the first part that has some. `root` is the whole schema."""
    row = resolved(returns, root)
    row = resolved(row.get("items"), root) if kind(row) == "array" else row
    properties = {name: part for name, part in (row.get("properties") or {}).items() if isinstance(part, dict)}
    kinds = {name: part.get("type") for name, part in properties.items() if name not in _HIDDEN}
    found = {name: kind for name, kind in kinds.items() if isinstance(kind, str) and kind in _SCALARS}
    if found or not nested:
        return found
    return next((inner for part in properties.values() if (inner := _scalars(part, root, nested=True))), {})


def _single(said: dict[str, Any]) -> list[Any]:
    """The values that a user has named and that are no number, which could be equal by chance."""
    return [value for value in said.values() if isinstance(value, str)]


def _state(record: Record) -> set[str]:
    status = record.row.get("status")
    return set(status.lower().split()) if isinstance(status, str) else set()


def _literal(name: str, value: Any, draft: Draft) -> Argument:
    if not isinstance(value, list | dict):
        draft.said[snake(name)] = value
    return Argument(name, value, f"{words(name)} {_spoken(value)}")


def _spoken(value: Any) -> str:
    """A value as a user says it, each scalar in it verbatim."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return join([_spoken(part) for part in value]) if value else "none"
    if isinstance(value, dict):
        return "(" + ", ".join(f"{words(key)} {_spoken(part)}" for key, part in value.items()) + ")"
    return str(value)
