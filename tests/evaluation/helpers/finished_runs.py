"""Finished runs of stages with chosen results, for tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.journal import write_jsonl
from core.runs import open_run
from evaluation.metrics.scores import RECORDS
from evaluation.reports.paper_table import PaperTable
from evaluation.tau2.benchmark import Tau2
from evaluation.trials import TrialRecord

GENERATION = {
    "domains": {"_target_": "generation.seeds.bundled.BundledSeeds"},
    "llm": {"_target_": "generation.scripted.llm.ScriptedLLM"},
    "serve": None,
}
STATISTICS = {
    "step": {"mean": 1.254, "max": 4},
    "turn": {"mean": 17.0, "max": 37},
    "task": {"mean": 2.0, "max": 4},
    "accepted": 1234,
    "latency_s": 0.0742,
    "throughput": 16122.4,
}
EVALUATION = {
    "subset": "smoke",
    "trials": 2,
    "sampling": {"temperature": 0.6},
    "profile": "tiny",
}


def finished(outputs: Path, stage: str, config: dict[str, Any], results: dict[str, Any]) -> Path:
    with open_run(outputs, stage, config) as run:
        run.finish(results)
    return run.directory


def ours(table: PaperTable) -> list[tuple[str, ...]]:
    return [row for row in table.rows if "(ours)" in row[0]]


def evaluation(
    outputs: Path,
    records: list[TrialRecord],
    mixtures: dict[str, dict[str, float]] | None = None,
    errors: int = 0,
    **config: Any,
) -> Path:
    """A finished evaluation of the models named in the records."""
    models = [
        {"label": name, "model": f"runs/{name}", "mixture": (mixtures or {}).get(name, {})}
        for name in dict.fromkeys(record.model for record in records)
    ]
    tau2 = Tau2(smoke={"airline": ["0"]}).caveats([record for record in records if record.benchmark == "tau2"])
    results = {"models": models, "errors_allowed": errors, "caveats": {"tau2": tau2}}
    run = finished(outputs, "evaluate", EVALUATION | config, results)
    write_jsonl(run / RECORDS, records)
    return run


def table_of(paper_tables: list[PaperTable], name: str) -> PaperTable:
    return next(table for table in paper_tables if table.name == name)


def axes(varied: str, tasks_per_dialogue: str) -> dict[str, str]:
    return {"tasks_per_dialogue": tasks_per_dialogue, "varied": varied, "databases": "unseen_databases"}
