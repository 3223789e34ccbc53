"""The ended dialogues of a run: from its final files, or from the journals where it was interrupted."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from core.dialogue import Dialogue
from core.journal import RecordError, lines_of, parse_line
from core.manifest import Manifest
from generation.dialogue.personas import UserSettings
from generation.metrics.diversity import SaturationSettings
from generation.metrics.statistics import CostSettings, Statistics, StatisticsTally
from generation.metrics.user_quality import QualitySettings
from generation.outcomes import Outcome, Outcomes, Status
from generation.runner import DeadLetter, Rejection

_FILES: dict[str, Status] = {
    "dialogues.jsonl": "accepted",
    "rejected.jsonl": "rejected",
    "dead_letters.jsonl": "failed",
}
_STATISTICS = "statistics.json"


@dataclass(frozen=True)
class PipelineRecords:
    """The files of one pipeline. `users` are the settings of its simulated users; None without a simulator."""

    name: str
    directory: Path
    users: UserSettings | None

    @property
    def finished(self) -> bool:
        """Whether its final files were written."""
        return all((self.directory / name).is_file() for name in (*_FILES, _STATISTICS))

    @property
    def size(self) -> int:
        """Bytes of the dialogues that have ended."""
        files = [self.directory / name for name in _FILES] if self.finished else self.directory.glob("journal*.jsonl")
        return sum(file.stat().st_size for file in files)

    def heads(self) -> Iterator[tuple[str, Status]]:
        """The id of each ended dialogue and how it ended. Raises RecordError for a corrupt journal."""
        if not self.finished:
            yield from ((head.dialogue_id, head.status) for head in Outcomes(self.directory).heads())
            return
        for name, status in _FILES.items():
            path = self.directory / name
            yield from ((_id(path, number, line), status) for _, number, line in lines_of(path))

    def outcomes(self, chosen: Container[str] | None = None) -> Iterator[Outcome]:
        """How each dialogue ended, read one at a time; with `chosen`, only those with these ids. A line of a final file
        that cannot be read gives an outcome without a dialogue, with the reason "unreadable: …". Raises RecordError for
        a corrupt journal."""
        if not self.finished:
            yield from (o for o in Outcomes(self.directory) if chosen is None or o.dialogue_id in chosen)
            return
        for name, status in _FILES.items():
            path = self.directory / name
            for _, number, line in lines_of(path):
                if chosen is None or _id(path, number, line) in chosen:
                    yield _outcome(path, number, line, status)


def pipelines_of(run: Path, manifest: Manifest) -> tuple[PipelineRecords, ...]:
    """The pipelines of a run that have begun, in the order in which they ran."""
    return tuple(
        PipelineRecords(name, run / name, _users(manifest, pipeline))
        for name, pipeline in manifest.config.get("pipelines", {}).items()
        if any((run / name).glob("*.jsonl"))
    )


def _users(manifest: Manifest, pipeline: dict[str, Any]) -> UserSettings | None:
    try:
        simulated = pipeline["rollout"]["user_simulator"]
        return UserSettings.model_validate(manifest.config["user"]) if simulated else None
    except (KeyError, ValidationError):  # the settings of another version
        return None


class _Head(BaseModel):
    dialogue_id: str


def _id(path: Path, number: int, line: bytes) -> str:
    try:
        return parse_line(path, number, line, _Head).dialogue_id
    except RecordError:
        return f"{path.name}, line {number}"


def _outcome(path: Path, number: int, line: bytes, status: Status) -> Outcome:
    record: Dialogue | Rejection | DeadLetter
    try:
        match status:
            case "accepted":
                record = parse_line(path, number, line, Dialogue)
                return _of(record.dialogue_id, status, record)
            case "rejected":
                record = parse_line(path, number, line, Rejection)
                return _of(record.dialogue_id, status, record.dialogue, reasons=record.reasons)
            case "failed":
                record = parse_line(path, number, line, DeadLetter)
                ending = {"reasons": record.reasons, "trace": record.trace, "unanswered": record.unanswered}
                return _of(record.dialogue_id, status, record.dialogue, **ending)
    except RecordError as error:
        return _of(_id(path, number, line), status, None, reasons=(f"unreadable: {error}",))


def _of(name: str, status: Status, dialogue: Dialogue | None, **ending: Any) -> Outcome:
    requested = dialogue.provenance.tasks_requested if dialogue else 0
    return Outcome(dialogue_id=name, status=status, dialogue=dialogue, tasks_requested=requested, **ending)


def read_statistics(records: PipelineRecords, manifest: Manifest) -> Statistics | None:
    """A pipeline's statistics.json; of an interrupted one, the statistics of the dialogues that have ended.

    None if this version cannot read the file or the settings. Raises RecordError for a corrupt journal.
    """
    try:
        if records.finished:
            return Statistics.model_validate(json.loads((records.directory / _STATISTICS).read_bytes()))
        config = manifest.config
        tally = StatisticsTally(
            records.name,
            records.users,
            QualitySettings.model_validate(config["quality"]),
            CostSettings.model_validate(config["costs"]),
            SaturationSettings.model_validate(config["saturation"]),
        )
    except (KeyError, ValueError):
        return None
    for outcome in records.outcomes():
        tally.add(outcome)
    return tally.result()
