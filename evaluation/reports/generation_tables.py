"""Tables 1 and 4: dataset statistics and generation efficiency, ours next to the paper's."""

from __future__ import annotations

from core.manifest import Manifest
from evaluation.reports.paper import TABLE_1, TABLE_4
from evaluation.reports.paper_table import PaperTable


def table_1(generated: Manifest | None) -> PaperTable:
    rows: list[tuple[str, ...]] = [
        (f"{p} (paper)", source, step, turn, task, f"{n:,}") for p, source, step, turn, task, n in TABLE_1
    ]
    for name, statistics in (generated.results if generated else {}).items():
        spread = [f"{statistics[key]['mean']:.2f} ({statistics[key]['max']})" for key in ("step", "turn", "task")]
        rows.append((f"**{name} (ours)**", _source(generated), *spread, f"{statistics['accepted']:,}"))
    return PaperTable(
        name="table_1",
        title="Table 1 · dataset statistics: mean (max)",
        columns=("pipeline", "source", "step", "turn", "task", "samples"),
        rows=tuple(rows),
        notes=_generation_notes(generated),
    )


def table_4(generated: Manifest | None) -> PaperTable:
    rows: list[tuple[str, ...]] = [
        (f"{p} (paper)", "GPT-OSS-120b, 32 H100", f"{latency:.2f}", f"{speed:,}") for p, latency, speed in TABLE_4
    ]
    for name, statistics in (generated.results if generated else {}).items():
        latency, speed = statistics.get("latency_s"), statistics.get("throughput")
        cells = ["–" if latency is None else f"{latency:.3f}", "–" if speed is None else f"{speed:,.0f}"]
        rows.append((f"**{name} (ours)**", _model(generated), *cells))
    return PaperTable(
        name="table_4",
        title="Table 4 · generation efficiency",
        columns=("pipeline", "model", "latency, s/sample", "throughput, tok/s"),
        rows=tuple(rows),
        notes=_generation_notes(generated),
    )


def _generation_notes(generated: Manifest | None) -> tuple[str, ...]:
    if not generated:
        return ()
    scripted = (
        ", a stand-in without weights: its times do not predict a real model's"
        if _model(generated) == "ScriptedLLM"
        else ""
    )
    return (f"ours: run {generated.run_id}, model {_model(generated)}{scripted}",)


def _source(generated: Manifest | None) -> str:
    return str(generated.config["domains"]["_target_"]).rpartition(".")[2] if generated else ""


def _model(generated: Manifest | None) -> str:
    if not generated:
        return ""
    llm = generated.config["llm"]
    return str(llm.get("model") or generated.config.get("serve") or llm["_target_"].rpartition(".")[2])
