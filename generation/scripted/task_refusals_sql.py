"""The stand-in's requests that an assistant has to decline: for records that do not exist, and against the policy."""

from __future__ import annotations

import re
from typing import Any

from core.policy import ArgumentRule, Comparison, Rule, StaffRule, StateRule
from generation.policies.comparisons import satisfied
from generation.scripted.drafts import Draft
from generation.scripted.special_moves import SpecialMoves
from generation.scripted.sql_shapes import Shape
from generation.scripted.sql_tables import row_name
from generation.scripted.task_writer_sql import Row
from generation.specs.spelling import snake, words


class DecliningMoves(SpecialMoves):
    """Each move returns the phrase of its subgoal, or None if it does not apply."""

    def not_found(self, draft: Draft) -> str | None:
        shape = next(iter(self.shuffled("search")), None)
        rows = self.writer.view.get(shape.table.name, []) if shape else []
        names = [str(row[shape.column]) for row in rows if row[shape.column]] if shape else []
        fields = self.column_names(shape) if shape else []
        if shape is None or len(names) < 2 or not fields:
            return None
        name = _crossed(*self.rng.sample(names, 2))
        field = self.rng.choice(fields)
        if name is None or field == shape.column:
            return None
        draft.call(shape.name, {snake(shape.column): name}, [snake(field)])
        return f"find out the {words(field)} of the {words(row_name(shape.table.name))} {name}"

    def forbidden(self, draft: Draft) -> str | None:
        policy = self.context.policy
        forms = (ArgumentRule, StateRule, StaffRule)
        rules = [rule for rule in policy.rules if isinstance(rule, forms)] if policy else []
        if not rules:
            return None
        rule = self.rng.choice(rules)
        fitting = [
            shape
            for shape in self.writer.shapes
            if shape.name in rule.tools and shape.kind in ("update", "delete", "create")
        ]
        if not fitting:
            return None
        shape = self.rng.choice(fitting)
        self.extra_fields["rule_id"] = rule.rule_id
        if shape.kind == "create":
            return self._forbidden_creation(rule, shape, draft)
        target = self._forbidden_target(rule, shape, draft)
        if target is None:
            return None
        reference, subject = target
        if shape.kind == "delete":
            draft.call(shape.name, {snake(shape.key): reference})
            return f"delete {subject}"
        value = self._breaking_value(rule, shape)
        if value is None:
            return None
        draft.call(shape.name, {snake(shape.key): reference, snake(shape.column): value})
        return f"change the {words(shape.column)} of {subject} to {value}"

    def _forbidden_creation(self, rule: Rule, shape: Shape, draft: Draft) -> str | None:
        phrase = self.writer.create(draft, shape)
        last = draft.plan[-1] if draft.plan else None
        if phrase is None or last is None or last.tell:
            return None
        if isinstance(rule, ArgumentRule):
            changed = {
                t.field: _breaking(t, last.arguments.get(t.field)) for t in rule.require if t.field in last.arguments
            }
            for name, value in changed.items():
                old = f"{words(name)} {last.arguments[name]}"
                if value is None or old not in phrase:
                    return None
                phrase = phrase.replace(old, f"{words(name)} {value}", 1)
            draft.plan[-1] = last.model_copy(update={"arguments": last.arguments | changed})
        elif isinstance(rule, StateRule):
            self._show_state(rule, draft)
        return phrase

    def _show_state(self, rule: StateRule, draft: Draft) -> None:
        """Put the rule's look-up before the last call, so that the assistant learns why it is forbidden."""
        last = draft.plan.pop()
        arguments = {
            name: last.arguments.get(match[1]) if (match := re.fullmatch(r"\$\{(\w+)\}", str(value))) else value
            for name, value in rule.look_up.arguments.items()
        }
        if not any((call.tool, call.arguments) == (rule.look_up.tool, arguments) for call in draft.plan):
            draft.call(rule.look_up.tool, arguments)
        draft.plan.append(last)

    def _forbidden_target(self, rule: Rule, shape: Shape, draft: Draft) -> tuple[Any, str] | None:
        """A record whose state a StateRule does not allow; any record for other rules."""
        rows = list(self.writer.view.get(shape.table.name, []))
        if isinstance(rule, StateRule):
            rows = [row for row in rows if self._is_shown_broken(rule, row)]
        if not rows:
            return None
        target = self.find_row(shape.table, self.rng.choice(rows), draft)
        if target and isinstance(rule, StateRule):
            shown = next((s for s in self.writer.shapes if s.name == rule.look_up.tool), None)
            if shown is None or snake(shape.key) not in rule.look_up.arguments:
                return target
            if not any(call.tool == shown.name for call in draft.plan):
                draft.call(shown.name, {snake(shape.key): target[0]})
        return target

    def _is_shown_broken(self, rule: StateRule, row: Row) -> bool:
        """Whether a row breaks the rule, as far as its own columns tell."""
        fields = {snake(name): value for name, value in row.items()}
        known = [test for test in rule.require if test.field in fields]
        return bool(known) and not satisfied(known, fields, {}, self.context.scene.now)

    def _breaking_value(self, rule: Rule, shape: Shape) -> Any:
        wanted = [test.value for test in rule.when if test.field == snake(shape.column) and test.op == "is"]
        if wanted:
            return wanted[0]
        value = self.plain_value(shape)
        if isinstance(rule, ArgumentRule):
            tests = [test for test in rule.require if test.field == snake(shape.column)]
            return _breaking(tests[0], value) if tests else None
        return value


def _crossed(one: str, other: str) -> str | None:
    """A name made of the beginning of one and the end of another: "Ann Lee", "Tom Fox" -> "Ann Fox"."""
    if "@" in one or " " not in one or " " not in other:
        return None
    crossed = f"{one.rpartition(' ')[0]} {other.rpartition(' ')[2]}"
    return None if crossed in (one, other) else crossed


def _breaking(test: Comparison, value: Any) -> Any:
    """A value that breaks a comparison, near its limit; None if there is no obvious one."""
    limit = test.value
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        return None
    step = 5 if isinstance(limit, int) else 7.5
    match test.op:
        case "at_most":
            return limit + step
        case "at_least":
            return limit - 1 if limit - 1 > 1 else None
        case _:
            return None
