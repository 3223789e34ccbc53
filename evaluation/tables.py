"""Tables 1, 2 and 4: ours beside the paper's, each of ours with the run it comes from. Only runs with a manifest count."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.messages import Frozen
from core.records import write_atomically, write_json
from core.runs import Manifest, read_manifest
from core.settings import Settings
from evaluation.paper import TABLE_1, TABLE_2, TABLE_2_COLUMNS, TABLE_4

# The names of Table 2's columns in the benchmarks' own figures.
BFCL_GROUPS = ("multi_turn", "live", "non_live", "relevance", "irrelevance")
TAU2_DOMAINS = TABLE_2_COLUMNS[len(BFCL_GROUPS) :]


class TablesSettings(Settings):
    """conf/tables.yaml. Runs that are not named are the newest finished ones."""

    profile: str
    outputs: Path
    generation: Path | None
    evaluation: Path | None


class PaperTable(Frozen):
    """A table as rows of cells; `notes` are what a reader must know to read our rows."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        lines = [
            f"### {self.title}",
            "",
            _line(self.columns),
            _line(["---"] * len(self.columns)),
            *map(_line, self.rows),
        ]
        return "\n".join([*lines, *(["", *(f"- {note}" for note in self.notes)] if self.notes else [])])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def tables(generation: Path | None, evaluation: Path | None) -> list[PaperTable]:
    """The tables for which there is something of ours or of the paper's. Raises UserError for a run without manifest."""
    generated = read_manifest(generation) if generation else None
    evaluated = read_manifest(evaluation) if evaluation else None
    return [_table_1(generated), _table_2(evaluated), _table_4(generated)]


def write_tables(found: list[PaperTable], directory: Path) -> None:
    """tables.md and tables.json."""
    write_atomically(directory / "tables.md", "\n\n".join(table.markdown() for table in found) + "\n")
    write_json(directory / "tables.json", [table.model_dump() for table in found])


def _table_1(generated: Manifest | None) -> PaperTable:
    rows: list[tuple[str, ...]] = [
        (f"{p} (paper)", source, step, turn, task, f"{n:,}") for p, source, step, turn, task, n in TABLE_1
    ]
    for name, figures in (generated.results if generated else {}).items():
        spread = [f"{figures[key]['mean']:.2f} ({figures[key]['max']})" for key in ("step", "turn", "task")]
        rows.append((f"**{name} (ours)**", _source(generated), *spread, f"{figures['accepted']:,}"))
    return PaperTable(
        name="table_1",
        title="Table 1 · dataset statistics: mean (max)",
        columns=("pipeline", "source", "step", "turn", "task", "samples"),
        rows=tuple(rows),
        notes=_generation_notes(generated),
    )


def _table_4(generated: Manifest | None) -> PaperTable:
    rows: list[tuple[str, ...]] = [
        (f"{p} (paper)", "GPT-OSS-120b, 32 H100", f"{latency:.2f}", f"{speed:,}") for p, latency, speed in TABLE_4
    ]
    for name, figures in (generated.results if generated else {}).items():
        latency, speed = figures.get("latency_s"), figures.get("throughput")
        cells = ["–" if latency is None else f"{latency:.3f}", "–" if speed is None else f"{speed:,.0f}"]
        rows.append((f"**{name} (ours)**", _model(generated), *cells))
    return PaperTable(
        name="table_4",
        title="Table 4 · generation efficiency",
        columns=("pipeline", "model", "latency, s/sample", "throughput, tok/s"),
        rows=tuple(rows),
        notes=_generation_notes(generated),
    )


def _table_2(evaluated: Manifest | None) -> PaperTable:
    extra = ("held-out", "valid calls")
    rows = [(name, *(_cell(value) for value in values), *("–" for _ in extra)) for name, values in TABLE_2]
    notes: list[str] = []
    models = evaluated.results.get("models", []) if evaluated else []
    for model in models:
        figures = model["figures"]
        bfcl, tau2 = figures.get("bfcl", {}), figures.get("tau2", {})
        scores = [_percent(bfcl.get(name)) for name in BFCL_GROUPS] + [
            _percent(tau2.get(name)) for name in TAU2_DOMAINS
        ]
        heldout = model["benchmarks"].get("heldout")
        rows.append((f"**{model['label']} (ours)**", *scores, _percent(_pass_1(heldout)), _percent(_valid(heldout))))
        notes.append(f"{model['label']}: {model['model']}")
    if evaluated and models:
        notes += _evaluation_notes(evaluated, models)
    return PaperTable(
        name="table_2",
        title="Table 2 · benchmarks, Pass@1 in %",
        columns=("model", *TABLE_2_COLUMNS, *extra),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _evaluation_notes(evaluated: Manifest, models: list[dict[str, Any]]) -> list[str]:
    config = evaluated.config
    errors = sum(summary["infrastructure_errors"] for model in models for summary in model["benchmarks"].values())
    shares = models[0]["figures"].get("tau2", {})
    nothing = [f"{name} {100 * share:.0f} %" for name, share in shares.items() if name.endswith("doing nothing")]
    return [
        f"ours: run {evaluated.run_id}, subset {config['subset']}, {config['trials']} trials, {json.dumps(config['sampling'])}",
        f"harnesses: {', '.join(models[0]['harnesses'].values())}",
        "; ".join([f"τ² user simulator: {config['simulator_model']}", *nothing]),
        f"{errors} infrastructure errors, in no score",
        "a model of the cpu profile is tiny: its figures show that the harness runs, not what the method is worth"
        if config["profile"] == "cpu"
        else "profile " + config["profile"],
    ]


def _generation_notes(generated: Manifest | None) -> tuple[str, ...]:
    if not generated:
        return ()
    scripted = (
        ", a stand-in without weights: its times say nothing of a real model"
        if _model(generated) == "ScriptedLLM"
        else ""
    )
    return (f"ours: run {generated.run_id}, model {_model(generated)}{scripted}",)


def _source(generated: Manifest | None) -> str:
    return str(generated.config["seeds"]["_target_"]).rpartition(".")[2] if generated else ""


def _model(generated: Manifest | None) -> str:
    if not generated:
        return ""
    llm = generated.config["llm"]
    return str(llm.get("model") or generated.config.get("serve") or llm["_target_"].rpartition(".")[2])


def _pass_1(summary: dict[str, Any] | None) -> float | None:
    estimate = (summary or {}).get("pass_at", {}).get("1")
    return estimate["value"] if estimate else None


def _valid(summary: dict[str, Any] | None) -> float | None:
    return (summary or {}).get("valid_call_rate")


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _percent(share: float | None) -> str:
    return _cell(None if share is None else 100 * share)
