"""One line for each (task, trial) of a benchmark, and the journal that makes an interrupted evaluation resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from core.journal import Journal, read_jsonl
from core.messages import Frozen
from core.sampling import Sampling

Progress = Callable[[str, int, int], None]
"""Called now and then with what is being run, how many of its units are done, and of how many."""


class TrialRecord(Frozen):
    """The outcome of one trial of one task.

    `success` is None exactly where `infrastructure_error` says why the trial could not be held: such a trial is counted,
    never scored. `stop_reason` says how the trial ended, `truncations` how many replies were cut at max_tokens. `calls` counts
    the tool calls the model made, `valid_calls` those that name a declared tool with arguments that fit its schema. Tokens are
    the evaluated model's alone; `seconds` is the time of its requests. `category` is a domain where the benchmark has those;
    `axes` are further values by which trials can be grouped. `judge` is the model that had a say in success, if one had;
    `transcript` a readable file, relative to the benchmark's directory (in records.jsonl: to the run's).
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
    axes: dict[str, str] = Field(default_factory=dict)
    transcript: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    @model_validator(mode="after")
    def _scored_or_not_held(self) -> Self:
        if (self.success is None) == (self.infrastructure_error is None):
            raise ValueError("a trial has either a success or an infrastructure error")
        return self

    @property
    def key(self) -> str:
        return trial_key(self.model_dump())

    @property
    def task(self) -> str:
        """The task's name within all benchmarks: its trials share it."""
        return f"{self.benchmark}/{self.category}/{self.task_id}"


def trial_key(record: dict[str, Any]) -> str:
    return "{benchmark}/{category}/{task_id}/{trial}".format_map(record)


def open_journal(path: Path) -> Journal:
    """The journal of a benchmark's trials. A key may be appended again: the last line of a key counts."""
    return Journal(path, trial_key)


def read_trials(path: Path) -> list[TrialRecord]:
    """The last record of every trial in a journal, in order of first appearance; none if there is no file yet."""
    if not path.is_file():
        return []
    return list({record.key: record for record in read_jsonl(path, TrialRecord)}.values())


def settled(path: Path) -> set[str]:
    """Keys of the trials that need not be run again: those that were held. Infrastructure errors are worth another try."""
    return {record.key for record in read_trials(path) if record.success is not None}
