"""The figure of an experiment: each claimed difference with its interval, next to the paper's."""

from __future__ import annotations

import textwrap
from pathlib import Path

from matplotlib.figure import Figure

from core.figures import COLOURS, save_figure
from evaluation.ablation.analysis import Analysis
from evaluation.ablation.settings import AblationSettings

NAME = "differences"
VERDICT_COLOURS = {"reproduced": COLOURS[2], "contradicted": COLOURS[1], "unresolved": "#777777"}

# Sizes in inches.
WIDTH, ROW, TOP, BOTTOM, LABELS = 7.4, 0.34, 0.5, 0.75, 3.3


def draw_figure(analysis: Analysis, settings: AblationSettings, directory: Path) -> list[Path]:
    """Write differences.png and .pdf and return their paths; draw nothing if no claim was measured."""
    drawn = [claim for claim in analysis.claims if claim.effect]
    if not drawn:
        return []
    height = TOP + ROW * len(drawn) + BOTTOM
    figure = Figure(figsize=(WIDTH, height))
    share = (WIDTH - LABELS - 0.2) / WIDTH
    axes = figure.add_axes((LABELS / WIDTH, BOTTOM / height, share, ROW * len(drawn) / height))
    axes.axvline(0, color="#999999", linewidth=0.8)
    for row, result in enumerate(drawn):
        assert result.effect
        low, high = (100 * bound for bound in result.effect.interval())
        colour = VERDICT_COLOURS[result.verdict.decision]
        axes.plot([low, high], [row, row], color=colour, linewidth=1.6)
        axes.plot([100 * result.effect.value], [row], "o", color=colour, markersize=4)
        if result.paper is not None:
            axes.plot([result.paper], [row], "D", markerfacecolor="white", markeredgecolor="black", markersize=4.5)
    labels = []
    for result in drawn:
        first, second = (settings.cells[name].name for name in (result.claim.cell, result.claim.against))
        outcome = settings.outcomes[result.claim.outcome].name
        labels.append("\n".join(textwrap.wrap(f"{first} − {second}, {outcome}", 50)))
    axes.set_yticks(range(len(drawn)), labels, fontsize=6.5)
    axes.set_ylim(len(drawn) - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlabel("difference in points, with 95 % intervals", fontsize=8)
    axes.grid(axis="x", color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.text(0.02, 1 - 0.28 / height, analysis.title, fontsize=9)
    notes = "◇ the paper's difference · green: reproduced · orange: contradicted · grey: unresolved"
    figure.text(0.02, 0.12 / height, notes, fontsize=6.5, color="#444444")
    return save_figure(figure, directory / NAME)
