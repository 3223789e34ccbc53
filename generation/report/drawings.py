"""The figures of a generation run: Table 1's distributions and the diversity curves, all pipelines side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator

from core.figures import COLOURS, DASHES, MARKERS, plain_axes, svg
from core.page.contents import Figure
from generation.metrics.diversity import Diversity
from generation.report.counts import MEASURES, Counts

_PANEL, _HEIGHT, _COLUMNS = 3.1, 2.6, 4
"""Width and height of a panel in inches, and panels in a row."""
_BARS = 30
"""Distributions with more values are drawn in bins."""
_TRAITS = {
    "goal_skeletons": "goals without values",
    "subgoal_skeletons": "subgoals without values",
    "plan_shapes": "plan shapes",
    "system_prompts": "system prompts",
    "tools_used": "tools in gold calls",
}


def histograms(counted: Mapping[str, Counts]) -> list[Figure]:
    """Table 1's distributions over accepted dialogues: a panel for each measure, in it a line for each pipeline. None
    without accepted dialogues."""
    drawn = {name: counts for name, counts in counted.items() if counts.histograms["turn"]}
    if not drawn:
        return []
    drawing = Drawing(figsize=(_PANEL * len(MEASURES), _HEIGHT), layout="constrained")
    panels = drawing.subplots(1, len(MEASURES), squeeze=False)[0]
    for axes, (measure, title) in zip(panels, MEASURES.items(), strict=True):
        histogram = {name: counts.histograms[measure] for name, counts in drawn.items()}
        width = bin_width([value for counts in histogram.values() for value in counts])
        for number, (name, counts) in enumerate(histogram.items()):
            lefts, heights = shares(counts, width)
            edges = [*lefts, lefts[-1] + width] if lefts else [0, 1]
            style = {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}
            axes.stairs(heights or [0], [edge - 0.5 for edge in edges], label=name, linewidth=1.5, **style)
        _finish(axes, title, f"per {width} values" if width > 1 else "")
    panels[0].set_ylabel("share of all", fontsize=8)
    panels[0].legend(fontsize=7, frameon=False)
    alt = "; ".join(
        f"{name}: " + ", ".join(f"{measure.replace('_', ' ')} up to {max(counts.histograms[measure], default=0)}"
                                for measure in MEASURES)
        for name, counts in drawn.items()
    )  # fmt: skip
    return [
        Figure(
            title="Distributions behind Table 1",
            svg=svg(drawing),
            alt=f"Distributions of turns, steps, tasks and user turns. {alt}.",
            note="Accepted dialogues. Steps: rounds of tool calls in response to one user message (Appendix B).",
        )
    ]


def bin_width(values: Sequence[int]) -> int:
    """How many values share a bar, so that at most _BARS are drawn."""
    return 1 + (max(values) - min(values)) // _BARS if values else 1


def shares(histogram: Mapping[int, int], width: int) -> tuple[list[int], list[float]]:
    """The smallest value of each bar, from the first to the last without gaps, and each bar's share of all."""
    if not histogram:
        return [], []
    total = sum(histogram.values())
    lefts = list(range(min(histogram), max(histogram) + 1, width))
    return lefts, [sum(histogram.get(left + k, 0) for k in range(width)) / total for left in lefts]


def diversity_curves(diversities: Mapping[str, Diversity]) -> list[Figure]:
    """Distinct traits against the number of dialogues, a panel for each pipeline with at least two points."""
    drawn = {name: diversity for name, diversity in diversities.items() if len(diversity.curve) > 1}
    if not drawn:
        return []
    columns = min(_COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    drawing = Drawing(figsize=(max(2, columns) * _PANEL * 1.2, rows * _HEIGHT * 1.2), layout="constrained")
    panels = [axes for row in drawing.subplots(rows, columns, squeeze=False) for axes in row]
    for axes, (name, diversity) in zip(panels, drawn.items(), strict=False):
        dialogues = [point.dialogues for point in diversity.curve]
        for number, (trait, label) in enumerate(_TRAITS.items()):
            found = [getattr(point, trait) for point in diversity.curve]
            style = {"color": COLOURS[number], "marker": MARKERS[number], "linestyle": DASHES[number % len(DASHES)]}
            axes.plot(dialogues, found, label=label, markersize=3, linewidth=1.2, **style)
        axes.set_xscale("log")
        axes.set_yscale("log")
        shown = dialogues[:: 1 + len(dialogues) // 6]
        axes.set_xticks(shown, [f"{count:,}" for count in shown])
        axes.set_xticks([], minor=True)
        _finish(axes, name, "dialogues", whole=False)
    for axes in panels[len(drawn) :]:
        axes.set_visible(False)
    panels[0].set_ylabel("distinct", fontsize=8)
    panels[0].legend(fontsize=6.5, frameon=False)
    growth = "; ".join(f"{name} {d.growth:.0%}" for name, d in drawn.items() if d.growth is not None)
    return [
        Figure(
            title="Diversity",
            svg=svg(drawing),
            alt=f"Distinct goals, subgoals, plan shapes, system prompts and tools, against the number of dialogues. "
            f"Growth of the goals when the dialogues double: {growth or 'not known'}.",
            note=f"Of random halves, quarters, … of the accepted dialogues. When the dialogues double to all of them, the "
            f"distinct goals grow by: {growth or 'not known'}.",
        )
    ]


def _finish(axes: Any, title: str, x_label: str, whole: bool = True) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(x_label, fontsize=8)
    plain_axes(axes)
    if whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
