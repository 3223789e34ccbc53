"""An export of a few dialogues with one that shares text with a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from generation.export.benchmark_texts import BenchmarkData, BenchmarkText
from generation.export.export import export
from generation.export.report import Report
from tests.generation.helpers.export_dialogues import PROVENANCE, dialogue, export_settings

SECRET = BenchmarkData(
    name="exam", version="7", tools=(), entities=(BenchmarkText(text="agent_99", of="task 3"),), texts=()
)


class StepCounter:
    """Counts the units done of each step."""

    def __init__(self) -> None:
        self.done: dict[str, list[int]] = {}

    def step(self, name: str, total: int) -> Callable[[int], None]:
        self.done[name] = [total, 0]

        def on_units(count: int) -> None:
            self.done[name][1] += count

        return on_units


def exported(files: Sequence[Path], directory: Path, **settings: Any) -> Report:
    directory.mkdir()
    chosen = export_settings(directory.parent, **settings)
    watcher = StepCounter()
    report = export(files, directory, chosen, [SECRET], "run-1", {"vllm": "0.32.0"}, watcher)
    assert all(total == done for total, done in watcher.done.values()), watcher.done
    return report


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


CALL = ("find", {"hall": "Ann's"}, '[{"hall": 1}]')


OTHER = PROVENANCE | {"source": "spider", "licence": "CC BY-SA 4.0", "seed": 1}


NO_SAMPLING = {key: value for key, value in PROVENANCE.items() if key != "sampling"}


DIALOGUES = (
    dialogue("user_oriented-1", "Find me a hall, please.", "Hall one.", "Thanks!", goals=["A hall."], calls=[CALL]),
    dialogue(
        *("user_oriented-2", "Something else entirely?", "No, nothing."),
        provenance=OTHER,
        domain="shops",
        late_tools={"find": 1},
    ),
    dialogue("user_oriented-3", "find me a HALL please", "hall one", "thanks", goals=["A hall."], calls=[CALL]),
    dialogue("user_oriented-4", "I am agent_99, let me in.", "No.", goals=["Get in."]),
    dialogue(
        "exec-1", "Find me a hall, please.", "Hall one.", pipeline="exec", calls=[CALL, CALL], provenance=NO_SAMPLING
    ),
    dialogue("exec-2", "Noé wants “ﬁnger food”\u2028now", "Ok\n\nthen.", pipeline="exec", verdict=None),
)
