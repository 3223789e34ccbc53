"""The record of a (task, trial) of a benchmark, and the journal from which an interrupted evaluation resumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from core.dialogue import Blame
from core.journal import Journal, read_jsonl
from core.messages import Frozen
from core.sampling import Sampling

Progress = Callable[[str, int, int], None]
"""Called from time to time with the name of the current work, the number of finished units, and their total."""


class TrialRecord(Frozen):
    """The outcome of one trial of one task.

    `success` is None if and only if `infrastructure_error` explains why the trial could not be completed: such a trial
    is counted but never scored. `stop_reason` tells how the trial ended, `truncations` how many replies were cut at
    max_tokens. `calls` counts the model's tool calls, `valid_calls` those of a declared tool with arguments that fit
    its schema. Tokens are the evaluated model's only, None if its server did not count those of each request; `seconds`
    is the time of its requests. `blame` is who caused a failure, by rules, and `blame_reason` the reason in words; None
    where no user simulator takes part. `category` is the domain for benchmarks with domains; `axes` are further values
    to group trials by. `judge` is the model that took part in deciding success, if any; `transcript` is a readable
    file, relative to the benchmark's directory (in records.jsonl: to the run's).
    """

    benchmark: str
    harness: str
    category: str
    task_id: str
    trial: int
    model: str
    success: bool | None = None
    infrastructure_error: str | None = None
    stop_reason: str
    truncations: int = 0
    calls: int = 0
    valid_calls: int = 0
    sampling: Sampling
    simulator: str | None = None
    judge: str | None = None
    blame: Blame | None = None
    blame_reason: str | None = None
    axes: dict[str, str] = Field(default_factory=dict)
    transcript: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0

    @model_validator(mode="after")
    def _success_or_error(self) -> Self:
        if (self.success is None) == (self.infrastructure_error is None):
            raise ValueError("a trial has either a success or an infrastructure error")
        return self

    def blamed(self, culprit: tuple[Blame, str] | None) -> Self:
        """The record with who caused its failure, and why that is so."""
        return self.model_copy(update={"blame": culprit[0], "blame_reason": culprit[1]}) if culprit else self

    @property
    def key(self) -> str:
        return trial_key(self.model_dump())

    @property
    def task(self) -> str:
        """The task's name, unique over all benchmarks and shared by its trials."""
        return f"{self.benchmark}/{self.category}/{self.task_id}"


def trial_key(record: dict[str, Any]) -> str:
    return "{benchmark}/{category}/{task_id}/{trial}".format_map(record)


def open_journal(path: Path) -> Journal:
    """The journal of a benchmark's trials. A key may be appended again; its last line counts."""
    return Journal(path, trial_key)


def read_trials(path: Path) -> list[TrialRecord]:
    """The last record of every trial in a journal, in order of first appearance; empty without a file."""
    if not path.is_file():
        return []
    return list({record.key: record for record in read_jsonl(path, TrialRecord)}.values())


def completed_keys(path: Path) -> set[str]:
    """Keys of the completed trials. Trials with an infrastructure error are not completed: they are run again."""
    return {record.key for record in read_trials(path) if record.success is not None}
