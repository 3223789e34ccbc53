"""make show run=outputs/… [id=DIALOGUE | kind=forbidden]: a dialogue or an evaluation's trial, in the terminal.

Without id= and kind=, the first one that was rejected or failed. Writes nothing.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from core.console import stage_console
from core.manifest import Manifest, read_manifest
from core.page.contents import CallView, CheckView, Expected, Mark, MessageView, TaskView, Transcript
from core.runs import latest
from core.settings import Settings, UserError, closest
from evaluation.reports.page_records import outcome, recorded_trials, transcript_key
from evaluation.reports.page_transcripts import transcripts
from generation.report import transcript as generated
from generation.report.records import pipelines_of
from generation.report.replaying import Replayed
from scripts.launch import clear_errors, read_settings

ROLE_STYLES = {"system": "dim", "user": "bold blue", "assistant": "bold green"}
OUTCOME_STYLES = {"accepted": "green", "passed": "green", "error": "yellow"}
MARK_STYLES = {"gold": "green", "told": "green", "broken_rule": "red", "change": "cyan", "fault": "yellow"}
MARKS = {"gold": "★", "told": "✓ told", "broken_rule": "✗ broken rule", "change": "Δ", "fault": "! user"}

_CONTROLS = {code: "�" for code in (*range(32), 127, *range(128, 160)) if chr(code) not in "\n\t"}
"""Control characters that a model wrote must not reach the terminal."""


Id = Annotated[str, BeforeValidator(str)]
"""Also one that consists of digits."""


class ShowSettings(Settings):
    """Settings of make show."""

    run: Path | None = Field(default=None, description="generation or evaluation run; null: the newest generation")
    id: Id | None = Field(default=None, description="dialogue, or model/benchmark/category/task/trial")
    kind: str | None = Field(default=None, description="first dialogue of a generation with a request of this kind")
    pager: bool = Field(default=True, description="page the dialogue if the output is a terminal")


def find_transcript(run: Path, wanted: str | None) -> tuple[Transcript, str]:
    """The dialogue or trial `wanted`, or else the first one that was not accepted or passed; and how to choose another.
    Raises UserError for a run without dialogues, and for an id that it does not have."""
    manifest = read_manifest(run)
    match manifest.stage:
        case "generate":
            outcomes = [*_generated(run, manifest)]
        case "evaluate":
            outcomes = [(transcript_key(record), outcome(record)) for record in recorded_trials(run, manifest)]
        case stage:
            raise UserError(f"{run} is a run of {stage}; expected one of generate or evaluate, which have dialogues")
    if not outcomes:
        raise UserError(f"{run} has no dialogue that has ended yet")
    keys = [key for key, _ in outcomes]
    bad = [key for key, ended in outcomes if ended not in ("accepted", "passed")]
    key = _choose(run, wanted, keys) if wanted else (bad or keys)[0]
    others = [other for other in bad if other != key][:3]
    advice = f"{len(bad):,} of {len(keys):,} were not accepted or passed"
    advice += f"; another one with id=…, such as {', '.join(others)}" if others else "; id=… chooses another one"
    if manifest.stage == "evaluate":
        return next(transcripts(run, {key})), advice
    return _read_generated(run, manifest, key), advice


def _choose(run: Path, wanted: str, keys: list[str]) -> str:
    if wanted in keys:
        return wanted
    if parts := [key for key in keys if f"/{wanted}/" in f"/{key}/"]:
        return parts[0]
    near = difflib.get_close_matches(wanted, keys[:10_000], n=1) or keys[:1]
    raise UserError(f"id={wanted}: {run} has no such dialogue; expected an id such as {near[0]}")


def first_of_kind(run: Path, kind: str) -> str:
    """The id of a generation's first dialogue with such a request. Raises UserError if there is none."""
    manifest = read_manifest(run)
    if manifest.stage != "generate":
        raise UserError(f"kind={kind}: {run} is a run of {manifest.stage}; expected one of generate")
    seen: set[str] = set()
    for records in pipelines_of(run, manifest):
        for ended in records.outcomes():
            kinds = {task.kind for task in ended.dialogue.tasks} if ended.dialogue else set()
            if kind in kinds:
                return generated.transcript_key(records.name, ended.dialogue_id)
            seen |= kinds
    raise UserError(f"kind={kind}: {run} has no such request; {closest(kind, sorted(seen))}")


def _generated(run: Path, manifest: Manifest) -> Iterator[tuple[str, str]]:
    for records in pipelines_of(run, manifest):
        yield from ((generated.transcript_key(records.name, name), status) for name, status in records.heads())


def _read_generated(run: Path, manifest: Manifest, key: str) -> Transcript:
    for records in pipelines_of(run, manifest):
        names = [name for name, _ in records.heads() if generated.transcript_key(records.name, name) == key]
        for ended in records.outcomes(set(names)) if names else ():
            return generated.transcript_of(ended, records.name, records.users, Replayed(), frozenset())
    raise AssertionError("the key was taken from these records")


def render(transcript: Transcript) -> RenderableType:
    """The transcript with all its parts, top to bottom."""
    starts = {task.start: number for number, task in enumerate(transcript.tasks)}
    parts: list[RenderableType] = [*_head(transcript)]
    for number, task in enumerate(transcript.tasks):
        parts += [Rule(f"task {number}", align="left", style="dim"), *_task(task)]
    for message in transcript.messages:
        if message.index in starts:
            parts.append(Rule(f"task {starts[message.index]} begins", style="magenta"))
        parts += _message(message)
    if transcript.text:
        parts += [Rule("recorded text", align="left", style="dim"), _text(transcript.text)]
    return Group(*parts)


def _head(transcript: Transcript) -> Iterator[RenderableType]:
    yield _text(transcript.title, "bold")
    yield _text(f"id={transcript.key}", "dim")
    reason = f": {transcript.reason}" if transcript.reason else ""
    yield _text(f"{transcript.outcome}{reason}", OUTCOME_STYLES.get(transcript.outcome, "red"))
    yield _text(" · ".join(f"{name} {', '.join(values)}" for name, values in transcript.facets.items()), "dim")
    yield from map(_check, transcript.checks)
    yield from (_text(f"changed: {line}", "cyan") for line in transcript.changes)


def _task(task: TaskView) -> Iterator[RenderableType]:
    yield _text(task.goal)
    if task.facts:
        yield _text(" · ".join(f"{name}: {value}" for name, value in task.facts), "dim")
    yield from (_expected("gold call", call) for call in task.gold_calls)
    yield from (_expected("tell", value) for value in task.told_values)
    yield from map(_check, task.checks)
    if task.judgment:
        yield _text(f"judge: {task.judgment}")
    if task.judge_reasoning:
        yield _text(task.judge_reasoning, "dim italic")


def _expected(name: str, expected: Expected) -> Text:
    met = expected.met_at is not None
    place = f"message {expected.met_at}" if met else "not met"
    return _text(f"{'✓' if met else '✗'} {name} {expected.text} ({place})", "green" if met else "red")


def _check(check: CheckView) -> Text:
    detail = f": {check.detail}" if check.detail else ""
    return _text(f"{'✓' if check.passed else '✗'} {check.name}{detail}", "green" if check.passed else "red")


def _message(message: MessageView) -> Iterator[RenderableType]:
    yield _text(f"\n[{message.index}] {message.role}", ROLE_STYLES[message.role])
    if message.reasoning:
        yield Padding(_text(message.reasoning, "dim italic"), (0, 0, 0, 2))
    if message.content:
        yield _text(message.content, "dim" if message.role == "system" else "")
    yield from map(_mark, message.marks)
    for call in message.calls:
        yield from _call(call)


def _call(call: CallView) -> Iterator[RenderableType]:
    yield _text(f"→ {call.name}({call.arguments})", "cyan")
    yield from map(_mark, call.marks)
    yield Padding(_text("no result" if call.result is None else call.result, "dim"), (0, 0, 0, 4))


def _mark(mark: Mark) -> RenderableType:
    task = "" if mark.task is None else f" (task {mark.task})"
    return Padding(_text(f"{MARKS[mark.kind]} {mark.text}{task}", MARK_STYLES[mark.kind]), (0, 0, 0, 2))


def _text(text: str, style: str = "") -> Text:
    return Text(text.translate(_CONTROLS), style)


def show(console: Console, run: Path, wanted: str | None, pager: bool) -> None:
    transcript, advice = find_transcript(run, wanted)
    if pager and console.is_terminal:
        os.environ.setdefault("LESS", "-R")
        with console.pager(styles=True):
            console.print(render(transcript))
    else:
        console.print(render(transcript))
    console.print(advice, style="dim", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    with clear_errors():
        given = read_settings(sys.argv[1:], ShowSettings)
        chosen = given.run or latest(Path("outputs"), "generate", "make generate")
        wanted = first_of_kind(chosen, given.kind) if given.kind else given.id
        show(stage_console(), chosen, wanted, given.pager)
