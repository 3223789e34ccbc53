"""The live bars of a generation."""

from __future__ import annotations

import io

from rich.console import Console

from generation.outcomes import Outcome
from generation.progress import GenerationProgress


def test_the_bar_counts_how_dialogues_ended() -> None:
    with GenerationProgress(Console(width=160, file=io.StringIO())) as progress:
        on_outcome = progress.pipeline("p", 6)
        for status in ("accepted", "rejected", "accepted", "failed", "accepted", "rejected"):
            on_outcome(Outcome(dialogue_id="d", status=status))
        (task,) = progress._progress.tasks
    assert (task.completed, task.total) == (6, 6)
    assert task.fields["counts"] == "3 accepted, 2 rejected, 1 failed"
