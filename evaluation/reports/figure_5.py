"""Figure 5: Pass^k against k with confidence bands, next to the paper's Pass@1, as PNG and PDF."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from core.figures import COLOURS, DASHES, MARKERS, plain_axes, save_figure
from evaluation.metrics.pass_at_k import Estimate, estimate, pass_hat_k, trial_counts
from evaluation.reports.evaluations import Evaluation
from evaluation.reports.paper import FIGURE_5_MODELS, TABLE_2, TABLE_2_COLUMNS
from evaluation.tau2.do_nothing import do_nothing
from evaluation.trials import TrialRecord

NAME = "figure_5"
PAPER_MARKERS = "^sD"

# Sizes in inches.
PANEL, MARGIN, GAP, TOP, AXIS = 2.3, 0.62, 0.28, 0.32, 0.5
LEGEND_LINE, NOTE_LINE, LEGEND_COLUMN = 0.16, 0.115, 2.0
CHARACTERS_PER_INCH = 21


@dataclass(frozen=True)
class Panel:
    """One plot of the trials for which `contains` is true; `domain` is set for the τ² domains that the paper also
    shows."""

    title: str
    contains: Callable[[TrialRecord], bool]
    domain: str | None = None


@dataclass(frozen=True)
class Curve:
    """Pass^k of one model at each k for which a task has enough trials."""

    label: str
    points: dict[int, Estimate]


def panels() -> list[Panel]:
    """τ²'s domains in the order of the paper's figure, then the other benchmarks."""

    def tau2(domain: str) -> Panel:
        return Panel(f"τ² {domain}", lambda r: r.benchmark == "tau2" and r.category == domain, domain)

    return [
        *(tau2(domain) for domain in ("retail", "airline", "telecom")),
        Panel("BFCL, all tasks", lambda r: r.benchmark == "bfcl"),
        Panel("held-out, unseen databases", lambda r: r.benchmark == "heldout" and r.category == "unseen_databases"),
        Panel("held-out, trained databases", lambda r: r.benchmark == "heldout" and r.category == "trained_databases"),
    ]


def curves(panel: Panel, evaluations: Sequence[Evaluation]) -> list[Curve]:
    """A curve for each model with completed trials in the panel."""
    found = []
    for evaluation in evaluations:
        for model in evaluation.models:
            counts = trial_counts(filter(panel.contains, model.records))
            max_k = max((completed for completed, _ in counts.values()), default=0)
            points = {k: point for k in range(1, max_k + 1) if (point := estimate(counts, pass_hat_k, k))}
            if points:
                found.append(Curve(f"{model.name} {evaluation.mark(model)}", points))
    return found


def draw_figure_5(evaluations: Sequence[Evaluation], directory: Path) -> list[Path]:
    """Write figure_5.png and figure_5.pdf and return their paths; draw nothing without completed trials."""
    drawn = [(panel, of_panel) for panel in panels() if (of_panel := curves(panel, evaluations))]
    if not drawn:
        return []
    width = 2 * MARGIN + len(drawn) * PANEL + (len(drawn) - 1) * GAP
    notes = _wrapped_notes(evaluations, width)
    labels = list(dict.fromkeys(curve.label for _, of_panel in drawn for curve in of_panel))
    columns = max(1, min(3, int(width / LEGEND_COLUMN)))
    entries = len(labels) + (len(FIGURE_5_MODELS) + 1 if any(panel.domain for panel, _ in drawn) else 0)
    legend = LEGEND_LINE * (0.5 + ceil(entries / columns))
    height = TOP + PANEL + AXIS + legend + NOTE_LINE * len(notes) + 0.1
    figure = Figure(figsize=(width, height))
    for position, (panel, of_panel) in enumerate(drawn):
        left, bottom = MARGIN + position * (PANEL + GAP), height - TOP - PANEL
        axes = figure.add_axes((left / width, bottom / height, PANEL / width, PANEL / height))
        _draw_panel(axes, panel, of_panel, labels, evaluations)
        axes.set_ylabel(r"Pass$^{\,k}$ (%)" if position == 0 else "", fontsize=8)
        axes.tick_params(labelleft=position == 0)
    handles = {text: line for axes in figure.axes for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="upper center",
        bbox_to_anchor=(0.5, (height - TOP - PANEL - AXIS) / height),
        ncols=columns,
        fontsize=6.5,
        frameon=False,
    )
    notes_top = (height - TOP - PANEL - AXIS - legend) / height
    figure.text(0.1 / width, notes_top, "\n".join(notes), fontsize=5.5, va="top", color="#444444", linespacing=1.25)
    return save_figure(figure, directory / NAME)


def _draw_panel(
    axes: Any, panel: Panel, of_panel: Sequence[Curve], labels: Sequence[str], evaluations: Sequence[Evaluation]
) -> None:
    max_k = max(k for curve in of_panel for k in curve.points)
    for curve in of_panel:
        draw_curve(axes, labels.index(curve.label), curve.label, curve.points)
    if panel.domain:
        _draw_paper(axes, panel.domain)
        _draw_do_nothing(axes, panel, evaluations)
    axes.set_title(panel.title, fontsize=9)
    axes.set_xlabel(r"$k$", fontsize=8)
    axes.set_xlim(0.7, max(max_k, 2) + 0.15)
    axes.set_xticks(range(1, max(max_k, 2) + 1))
    axes.set_ylim(-3, 103)
    axes.set_yticks(range(0, 101, 20))
    plain_axes(axes)


def draw_curve(axes: Any, number: int, label: str, points: Mapping[int, Estimate]) -> None:
    """Draw a model's estimates in % against k, with their intervals as a band. `number` chooses colour and style."""
    ks, colour = list(points), COLOURS[number % len(COLOURS)]
    low, value, high = ([100 * getattr(point, part) for point in points.values()] for part in ("low", "value", "high"))
    axes.fill_between(ks, low, high, color=colour, alpha=0.15, linewidth=0)
    if len(ks) == 1:  # a band over a single k has no width
        axes.vlines(ks, low, high, color=colour, alpha=0.4, linewidth=2)
    axes.plot(
        ks,
        value,
        DASHES[number % len(DASHES)],
        color=colour,
        marker=MARKERS[number % len(MARKERS)],
        markersize=3.5,
        linewidth=1.3,
        label=label,
    )


def _draw_paper(axes: Any, domain: str) -> None:
    """The paper's Pass@1, which equals its Pass^1, slightly left of ours."""
    papers = dict(TABLE_2)
    for name, marker in zip(FIGURE_5_MODELS, PAPER_MARKERS, strict=True):
        value = papers[name][TABLE_2_COLUMNS.index(domain)]
        style = {"markerfacecolor": "white", "markeredgecolor": "#555555", "markersize": 5, "clip_on": False}
        axes.plot([0.85], [value], marker, label=f"{name} (paper, Pass@1)", zorder=5, **style)


def _draw_do_nothing(axes: Any, panel: Panel, evaluations: Sequence[Evaluation]) -> None:
    """A line for each share of the domain's tasks that doing nothing passes; runs with the same tasks share a line."""
    shares = {
        do_nothing([record for record in evaluation.records if panel.contains(record)]).get(str(panel.domain))
        for evaluation in evaluations
    }
    for share in sorted(share for share in shares if share is not None):
        axes.axhline(
            100 * share, color="#999999", linewidth=0.8, linestyle=(0, (1, 2)), label="doing nothing, our tasks"
        )


def _wrapped_notes(evaluations: Sequence[Evaluation], width: float) -> list[str]:
    first = "Bands: 95 % bootstrap over tasks. Pass^k is averaged over the tasks with at least k completed trials."
    lines = [first, *(f"[{run.number}] {'; '.join(run.caveats())}" for run in evaluations)]
    return [
        part
        for line in lines
        for part in textwrap.wrap(line, int(width * CHARACTERS_PER_INCH), subsequent_indent="    ")
    ]
