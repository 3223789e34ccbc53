"""The policy of a service: rules that its assistant must follow, each in words and in a form that code can check.

A rule governs the calls of some tools, all of them or those with certain arguments (`when`). Its form says what must
hold when such a call is made; generation.policies.violations checks it against arguments, state and transcript.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import Field

from core.dual_control import Actor
from core.messages import Frozen

Operator = Literal["is", "is_not", "in", "not_in", "at_most", "at_least", "before", "after"]


class Comparison(Frozen):
    """One statement about a field: of a call's arguments, or of a row that a look-up returns.

    `field` may lead into objects ("address.city"); of a list, every member must satisfy the statement, and "count of
    items" is its length. `value` is a literal (a list for in and not_in), "${now}" for the dialogue's date and time,
    "${now + 2 days}" or "${now - 24 hours}" for another one, or "${argument}" for an argument of the governed call
    ("${count of items}" for its length). before and after compare dates and times in ISO form, as precisely as the
    coarser of the two. null satisfies only is, is_not, in and not_in.
    """

    field: str
    op: Operator
    value: Any = None


class LookUp(Frozen):
    """A call of a reading tool that shows whether a rule holds. Arguments are literals or "${argument}" of the governed
    call.

    With `of`, it is made for every row of that look-up, or every member of the row's list `each`, whose fields are
    arguments too and stay in its rows: the status of each flight of a reservation. A result that is a single value is a
    row with the field "value".
    """

    tool: str
    arguments: dict[str, Any]
    of: LookUp | None = None
    each: str = ""


class RuleBase(Frozen):
    """What all rules have."""

    rule_id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    text: str = Field(min_length=1, description="the rule in one or two sentences, as the assistant reads it")
    tools: tuple[str, ...] = Field(min_length=1, description="the tools whose calls it governs")
    when: tuple[Comparison, ...] = Field(default=(), description="it governs only calls with such arguments")


class ArgumentRule(RuleBase):
    """The call's own arguments must satisfy `require`: limits and allowed values. An argument that is left out
    satisfies everything but is_not null."""

    form: Literal["arguments"] = "arguments"
    require: tuple[Comparison, ...] = Field(min_length=1)


class StateRule(RuleBase):
    """Who may do what until when: every row that `look_up` returns before the call must satisfy `require`, but for rows
    that satisfy one of `unless`; with `fewer_than`, fewer than that many rows may satisfy it. A look-up without a
    result forbids nothing."""

    form: Literal["state"] = "state"
    look_up: LookUp
    require: tuple[Comparison, ...] = Field(min_length=1)
    unless: tuple[Comparison, ...] = ()
    fewer_than: int | None = Field(default=None, ge=1)


class IdentityRule(RuleBase):
    """Before the call, one of the tools `first` must have returned whom it concerns in the same dialogue: the assistant
    knows who it acts for. `subject` is an argument of the call; with `look_up`, a field of the one row that it returns
    before the call (an order's customer_id)."""

    form: Literal["identity"] = "identity"
    first: tuple[str, ...] = Field(min_length=1)
    subject: str
    look_up: LookUp | None = None


class ConfirmRule(RuleBase):
    """The user must have agreed to the call after the assistant asked."""

    form: Literal["confirm"] = "confirm"


class StaffRule(RuleBase):
    """The assistant never makes the call: it tells the user to turn to `contact`."""

    form: Literal["staff"] = "staff"
    contact: str = Field(min_length=1, description="whom to turn to, such as a telephone number; users are told it")


Rule = Annotated[ArgumentRule | StateRule | IdentityRule | ConfirmRule | StaffRule, Field(discriminator="form")]


class Branch(Frozen):
    """Where a procedure goes on if the row that a step returns satisfies `when`: at step `go`, or at its end (null)."""

    when: tuple[Comparison, ...] = Field(min_length=1)
    go: str | None = None


class Step(Frozen):
    """One step of a procedure: a call that the assistant makes, or has the user make with a tool of their own.

    Arguments are literals or "${field}" of the subject or of the latest result that has the field. Without a fitting
    branch the procedure goes on at `otherwise`; null ends it.
    """

    step_id: str
    text: str = Field(min_length=1, description="the step as the assistant reads it, as an order")
    actor: Actor
    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    branches: tuple[Branch, ...] = ()
    otherwise: str | None = None


class Workflow(Frozen):
    """An ordered procedure for one kind of problem: "first check X; if Y, have the user do Z, else …"."""

    workflow_id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = Field(description="the problem, as the assistant reads it")
    table: str = Field(description="rows of this table have the problem; their fields are known to the user")
    goals: tuple[str, ...] = Field(min_length=1, description="goals of a user, with {field} for the row's fields")
    wish: str = Field(description='what the user wants, after "I want to", with {field} for the row\'s fields')
    steps: tuple[Step, ...] = Field(min_length=1)

    def step(self, step_id: str) -> Step:
        """Raises KeyError if there is none."""
        return {step.step_id: step for step in self.steps}[step_id]

    @property
    def shown(self) -> str:
        """The numbered procedure, as the assistant reads it."""
        numbers = {step.step_id: number for number, step in enumerate(self.steps, 1)}
        lines = [f"{self.title}:"]
        for number, step in enumerate(self.steps, 1):
            ways = [f"If {_condition(branch.when)}: {_onwards(branch.go, numbers)}." for branch in step.branches]
            rest = "Otherwise" if ways else "Then"
            lines.append(" ".join([f"{number}. {step.text}", *ways, f"{rest}: {_onwards(step.otherwise, numbers)}."]))
        return "\n".join(lines)


def _condition(when: tuple[Comparison, ...]) -> str:
    parts = []
    for comparison in when:
        value = str(comparison.value).removeprefix("${").removesuffix("}").replace("_", " ")
        parts.append(f"{comparison.field.replace('_', ' ')} {comparison.op.replace('_', ' ')} {value}")
    return " and ".join(parts)


def _onwards(go: str | None, numbers: dict[str, int]) -> str:
    return f"go on with step {numbers[go]}" if go else "that is all"


class Policy(Frozen):
    """The rules of a service, and its procedures. `text` replaces the rules' own texts in prompts, where the source has
    a policy in words."""

    rules: tuple[Rule, ...] = ()
    text: str = ""
    workflows: tuple[Workflow, ...] = ()

    @property
    def shown(self) -> str:
        """What the assistant reads."""
        rules = self.text or "\n".join(f"- {rule.text}" for rule in self.rules)
        return "\n\n".join(filter(None, [rules, *(workflow.shown for workflow in self.workflows)]))

    def workflow(self, workflow_id: str | None) -> Workflow | None:
        """The procedure of this id, if there is one."""
        return next((w for w in self.workflows if w.workflow_id == workflow_id), None)

    def for_tools(self, names: Collection[str]) -> Policy:
        """The rules that matter where only these tools are offered: those that govern one of them, and whose look-ups
        are offered too. The text, where there is one, stays as it is."""
        rules = (rule.model_copy(update={"tools": tuple(t for t in rule.tools if t in names)}) for rule in self.rules)
        return self.model_copy(update={"rules": tuple(rule for rule in rules if _has_tools(rule, names))})

    def rule(self, rule_id: str) -> Rule:
        """The rule of this id. Raises KeyError if there is none."""
        return {rule.rule_id: rule for rule in self.rules}[rule_id]


def _has_tools(rule: Rule, names: Collection[str]) -> bool:
    look_ups = []
    look_up = rule.look_up if isinstance(rule, StateRule | IdentityRule) else None
    while look_up is not None:
        look_ups.append(look_up.tool)
        look_up = look_up.of
    first = not isinstance(rule, IdentityRule) or bool(set(rule.first) & set(names))
    return bool(rule.tools) and set(look_ups) <= set(names) and first
