"""Tables 1 and 4: dataset statistics and generation efficiency, ours next to the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.manifest import Manifest
from evaluation.reports.paper import TABLE_1, TABLE_4
from evaluation.reports.paper_table import PaperTable

SCRIPTED = "ScriptedLLM"


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
    default, *others = _models(generated).items()
    roles = "".join(f"; {model} as {', '.join(roles)}" for model, roles in others)
    scripted = ""
    if SCRIPTED in _models(generated):
        scripted = f"; {SCRIPTED} is a stand-in without weights: its times do not predict a real model's"
    return (f"ours: run {generated.run_id}, model {default[0]}{roles}{scripted}",)


def _source(generated: Manifest | None) -> str:
    return str(generated.config["domains"]["_target_"]).rpartition(".")[2] if generated else ""


def _model(generated: Manifest | None) -> str:
    return " + ".join(_models(generated)) if generated else ""


def _models(generated: Manifest) -> dict[str, list[str]]:
    """The models of a run -> the roles they were given by name; first the one of all other roles."""
    serve = generated.config.get("serve")
    models: dict[str, list[str]] = {_name(generated.config["llm"], serve): []}
    for role, llm in (generated.config.get("roles") or {}).items():
        models.setdefault(_name(llm, serve), []).append(role)
    return models


def _name(llm: Mapping[str, Any], serve: str | None) -> str:
    kind = str(llm["_target_"]).rpartition(".")[2]
    return kind if kind == SCRIPTED else str(llm.get("model") or serve or kind)
