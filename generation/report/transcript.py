"""One generated dialogue as a transcript: its tasks with proof and judgment, its messages with marks, its facets."""

from __future__ import annotations

from collections.abc import Container
from textwrap import shorten

from core.dialogue import Dialogue, Judgment, Task
from core.messages import UserMessage
from core.page.contents import Branch, CheckView, TaskView, Transcript
from generation.dialogue.personas import UserSettings
from generation.metrics.statistics import reason_kinds
from generation.metrics.user_quality import dialogue_quality
from generation.outcomes import Outcome
from generation.report.counts import blame_of
from generation.report.expectations import MetTask, met_tasks
from generation.report.replaying import Replayed
from generation.report.views import call_marks, message_marks, message_views

_TITLE, _REASON, _STOP = 160, 500, 80
"""Characters of a title, a reason and a stop reason at most."""


def transcript_key(pipeline: str, dialogue_id: str) -> str:
    """Unique in a run: ids of generated dialogues begin with their pipeline, those of other files may not."""
    return dialogue_id if dialogue_id.startswith(f"{pipeline}-") else f"{pipeline}/{dialogue_id}"


def transcript_of(
    outcome: Outcome, pipeline: str, users: UserSettings | None, replayed: Replayed, shown: Container[str]
) -> Transcript:
    """The transcript of an ended dialogue of `pipeline`. `shown` are the keys of all transcripts of the page."""
    dialogue = outcome.dialogue
    if dialogue is None:
        return _without_dialogue(outcome, pipeline, outcome.trace)
    met = met_tasks(dialogue)
    faults = dialogue_quality(dialogue, users.rules_named(dialogue.provenance.user_rules)).faults if users else ()
    verdict = dialogue.verdict
    return Transcript(
        key=transcript_key(pipeline, outcome.dialogue_id),
        title=_title(dialogue),
        outcome=outcome.status,
        reason=_reason(outcome),
        same_task=_origin(dialogue, pipeline),
        facets=_facets(outcome, dialogue, pipeline) | _facet("user fault", *(fault.kind for fault in faults)),
        tasks=tuple(_task_view(dialogue, number, found) for number, found in enumerate(met)),
        checks=tuple(
            CheckView(name=check.name, passed=check.passed, detail=check.detail)
            for check in (verdict.checks if verdict else ())
            if check.task is None
        ),
        changes=dialogue.state.diff if dialogue.state else (),
        messages=message_views(dialogue, message_marks(dialogue, met, faults), call_marks(dialogue, met, replayed)),
        branch=_branch(dialogue, pipeline, shown),
        text=outcome.trace,
    )


def unreadable_transcript(outcome: Outcome, pipeline: str, error: Exception) -> Transcript:
    """In place of a dialogue that cannot be shown."""
    return _without_dialogue(outcome, pipeline, f"The dialogue cannot be shown: {type(error).__name__}: {error}")


def _without_dialogue(outcome: Outcome, pipeline: str, text: str) -> Transcript:
    return Transcript(
        key=transcript_key(pipeline, outcome.dialogue_id),
        title=outcome.dialogue_id,
        outcome=outcome.status,
        reason=_reason(outcome),
        facets=_ending(outcome, pipeline),
        text=text,
    )


def _title(dialogue: Dialogue) -> str:
    goals = [task.goal for task in dialogue.tasks]
    first = [message.content for message in dialogue.messages if isinstance(message, UserMessage)][:1]
    return shorten(" · ".join(goals or first or [dialogue.dialogue_id]), _TITLE, placeholder=" …")


def _reason(outcome: Outcome) -> str:
    return shorten("; ".join(outcome.reasons), _REASON, placeholder=" …")


def _facet(name: str, *values: str) -> dict[str, tuple[str, ...]]:
    distinct = tuple(sorted(set(filter(None, values))))
    return {name: distinct} if distinct else {}


def _ending(outcome: Outcome, pipeline: str) -> dict[str, tuple[str, ...]]:
    kinds = reason_kinds(outcome)
    return (
        _facet("pipeline", pipeline)
        | _facet("reason", *kinds)
        | _facet("first reason", *kinds[:1])
        | _facet("blame", blame_of(outcome))
    )


def _facets(outcome: Outcome, dialogue: Dialogue, pipeline: str) -> dict[str, tuple[str, ...]]:
    calls = [getattr(message, "tool_calls", None) or () for message in dialogue.messages]
    provenance = dialogue.provenance
    rollouts = f"{provenance.rollouts_passed} of {provenance.rollouts}" if provenance.rollouts else ""
    return (
        _ending(outcome, pipeline)
        | _facet("domain", dialogue.domain)
        | _facet("kind", *(task.kind for task in dialogue.tasks))
        | _facet("difficulty", *(task.difficulty for task in dialogue.tasks))
        | _facet("tasks", str(len(dialogue.tasks)))
        | _facet("tasks requested", str(outcome.tasks_requested or ""))
        | _facet("tool", *(call.name for made in calls for call in made))
        | _facet("parallel calls", "yes" if any(len(made) > 1 for made in calls) else "no")
        | _facet("stop", shorten(": ".join(dialogue.stop.split(": ")[:2]), _STOP, placeholder=" …"))
        | _facet("rollouts accepted", rollouts)
    )


def _origin(dialogue: Dialogue, pipeline: str) -> str:
    """What all dialogues that continue the same one share."""
    provenance = dialogue.provenance
    return f"{pipeline}/{provenance.parent_config or ''}/{provenance.parent}" if provenance.parent else ""


def _branch(dialogue: Dialogue, pipeline: str, shown: Container[str]) -> Branch | None:
    """A dialogue of another run, with the same id as one of this run, is not that one."""
    provenance = dialogue.provenance
    if not provenance.parent:
        return None
    key = transcript_key(pipeline, provenance.parent)
    here = key in shown and provenance.parent_config == provenance.config
    return Branch(parent=key if here else "", shared=provenance.parent_messages)


def _task_view(dialogue: Dialogue, number: int, met: MetTask) -> TaskView:
    task, verdict = dialogue.tasks[number], dialogue.verdict
    judgment = verdict.judgments[number] if verdict and number < len(verdict.judgments) else None
    return TaskView(
        goal=task.goal,
        start=dialogue.task_starts[number] if number < len(dialogue.task_starts) else None,
        facts=tuple((name, value) for name, value in _facts(dialogue, task) if value),
        gold_calls=met.gold_calls,
        told_values=met.told_values,
        checks=tuple(
            CheckView(name=check.name, passed=check.passed, detail=check.detail)
            for check in (verdict.checks if verdict else ())
            if check.task == number
        ),
        judgment=_judgment(judgment) if judgment else "",
        judge_reasoning=_reasoning(judgment) if judgment else "",
    )


def _facts(dialogue: Dialogue, task: Task) -> tuple[tuple[str, str], ...]:
    request = dialogue.provenance.writer_requests.get(task.task_id)
    ids = [other.task_id for other in dialogue.tasks]
    earlier = task.follows_from or ""
    evidence = task.evidence
    return (
        ("kind", task.kind),
        ("kind asked for", request.kind if request and request.kind != task.kind else ""),
        ("difficulty", task.difficulty),
        ("difficulty asked for", request.difficulty if request and request.difficulty != task.difficulty else ""),
        ("follows from", f"task {ids.index(earlier)}" if earlier in ids else earlier),
        ("withheld", ", ".join(task.withheld)),
        ("first wish", task.first_wish),
        ("late tools", ", ".join(task.late_tools)),
        ("forbidden by", task.rule_id or ""),
        ("evidence", f"{evidence.rows} rows, {evidence.lookups} look-ups" if evidence.rows or evidence.lookups else ""),
        ("changes the state", "yes" if task.mutates else ""),
    )


def _judgment(judgment: Judgment) -> str:
    """ "valid", with the votes if there were several."""
    votes = judgment.votes
    same = votes.count(judgment.judgment)
    return f"{judgment.judgment} ({same} of {len(votes)} votes)" if len(votes) > 1 else judgment.judgment


def _reasoning(judgment: Judgment) -> str:
    """The reasoning, the statements that the judge found false, and the first objection."""
    false = [f"not met ({b.rubric_class}): {b.bullet}" for b in judgment.bullets if not b.passed]
    objection = [f"objection: {judgment.objection.reasoning}"] if judgment.objection else []
    return "\n".join([judgment.reasoning, *false, *objection])
