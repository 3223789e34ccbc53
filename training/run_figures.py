"""The figures of a training run's page, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from core.figures import COLOURS, DASHES, MARKERS, plain_axes, svg
from training.dataset import tree_of

Curve = Sequence[tuple[int, float]]
"""(step, value) in order."""

WIDTH, HEIGHT = 6.4, 3.0
CHAIN_HEIGHT = 0.32
"""In inches."""

UNTRAINED_COLOUR, TRAINED_COLOUR = "#c9d7e8", "#1f4e8c"
MARGIN = 0.9
"""A tree is drawn from this share of the tokens before the first trained one."""


def loss_figure(losses: Curve, validations: Curve) -> str:
    figure, axes = _plot("step", "loss (nats per trained token)")
    if losses:
        axes.plot(*zip(*losses, strict=True), color=COLOURS[5], linewidth=1.0, label="training")
    if validations:
        axes.plot(
            *zip(*validations, strict=True),
            color=COLOURS[1],
            marker="o",
            markersize=4,
            linewidth=1.4,
            label="validation",
        )
    return _with_legend(figure, axes)


def validation_figure(curves: Mapping[str, Curve]) -> str:
    """A curve for each "source/NAME" and "difficulty/NAME"."""
    figure, axes = _plot("step", "validation loss")
    for number, (name, curve) in enumerate(curves.items()):
        axes.plot(
            *zip(*curve, strict=True),
            DASHES[number % len(DASHES)],
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=4,
            linewidth=1.3,
            label=name.replace("/", ": ", 1),
        )
    return _with_legend(figure, axes)


def speed_figure(speeds: Sequence[tuple[int, float, float]]) -> str:
    """`speeds` are (step, tokens per second, trained tokens per second)."""
    figure, axes = _plot("step", "tokens per second")
    steps, tokens, trained = zip(*speeds, strict=True)
    axes.plot(steps, tokens, color=COLOURS[0], linewidth=1.4, label="all tokens")
    axes.plot(steps, trained, "--", color=COLOURS[2], linewidth=1.4, label="trained tokens")
    return _with_legend(figure, axes)


def packing_figure(sizes: Sequence[int], capacity: int) -> str:
    """The number of rows by how full they are, in 20 bins."""
    figure, axes = _plot("row filled (%)", "rows")
    axes.hist([100 * size / capacity for size in sizes], bins=20, range=(0, 100), color=COLOURS[0])
    axes.set_xlim(0, 100)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return svg(figure)


def tree_figure(row: Mapping[str, Any]) -> str:
    """The tree of a row of training.dataset.FEATURES: a bar for each chain, dark where tokens are trained."""
    tree = tree_of(row)
    depth = tree.depths()
    trained = np.isin(np.arange(tree.size), tree.trained)
    figure = Figure(figsize=(WIDTH + 1.6, CHAIN_HEIGHT * len(tree.starts) + 0.9), layout="constrained")
    axes = figure.add_subplot()
    for number, (start, end, parent) in enumerate(zip(tree.starts, tree.ends(), tree.parents, strict=True)):
        bar = (-number - 0.4, 0.8)
        axes.broken_barh([(depth[start], end - start)], bar, color=UNTRAINED_COLOUR)
        spans = [(depth[start] + first, length) for first, length in _spans(trained[start:end])]
        axes.broken_barh(spans, bar, color=TRAINED_COLOUR)
        if parent >= 0:
            owner = int(np.searchsorted(tree.starts, parent, side="right")) - 1
            axes.plot([depth[parent] + 1] * 2, [-owner, -number], color="#888888", linewidth=0.8)
    first_trained = int(depth[tree.trained].min()) if len(tree.trained) else 0
    axes.set_xlim(MARGIN * first_trained, int(depth.max()) + 1)
    axes.set_xlabel("position in the prompt (tokens)", fontsize=8)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_yticks([])
    axes.tick_params(labelsize=7)
    axes.spines[["left", "right", "top"]].set_visible(False)
    return svg(figure)


def _spans(flags: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
    """(first, length) of each run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(first), int(end - first)) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def _plot(across: str, up: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(across, fontsize=8)
    axes.set_ylabel(up, fontsize=8)
    plain_axes(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure, axes


def _with_legend(figure: Figure, axes: Any) -> str:
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7, frameon=False)
    return svg(figure)
