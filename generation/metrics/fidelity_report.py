"""Shows a comparison of generated users with people: a table for the console, Markdown, and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from core.figures import COLOURS, plain_axes, save_figure
from generation.metrics.fidelity import METRICS, SHARES, BehaviourTally, Fidelity, Metric, MetricComparison

_HEADINGS = ("metric", "generated", "reference", "difference", "Wasserstein", "noise", "KS", "noise")
NAMES = ("generated", "reference")
_WIDEST = 0.99
"""The figure shows the values up to this quantile; the longest messages would flatten the rest."""


def _rows(fidelity: Fidelity) -> list[tuple[str, ...]]:
    return [_row(compared) for compared in fidelity.metrics]


def _row(compared: MetricComparison) -> tuple[str, ...]:
    is_share = compared.metric in SHARES
    scale, digits = (100, 1) if is_share else (1, 2)

    def number(value: float) -> str:
        return f"{scale * value:.{digits}f}"

    def mean(value: float, quantiles: Sequence[float]) -> str:
        if is_share:
            return f"{number(value)} %"
        return f"{number(value)} ({', '.join(f'{quantile:g}' for quantile in quantiles)})"

    distance, smirnov = compared.wasserstein, compared.kolmogorov_smirnov
    difference = f"+{number(compared.difference.value)}" if compared.difference.value > 0 else None
    return (
        METRICS[compared.metric],
        mean(compared.generated_mean, compared.generated_quantiles),
        mean(compared.reference_mean, compared.reference_quantiles),
        difference or number(compared.difference.value),
        f"{number(distance.value)} [{number(distance.low)}, {number(distance.high)}]",
        f"{number(compared.wasserstein_floor.high)}",
        f"{smirnov.value:.2f} [{smirnov.low:.2f}, {smirnov.high:.2f}]",
        f"{compared.kolmogorov_smirnov_floor.high:.2f}",
    )


def notes(fidelity: Fidelity, confidence: float) -> tuple[str, ...]:
    """What the numbers of the table are."""
    return (
        f"generated: {fidelity.generated_dialogues} dialogues, {fidelity.generated_messages} user messages; reference: "
        f"{fidelity.reference_dialogues} dialogues, {fidelity.reference_messages} user messages",
        "means with the quantiles at 10, 50 and 90 %; shares and their distances in per cent; brackets: "
        f"{100 * confidence:g} % bootstrap intervals over dialogues",
        f"noise: what the distance of random halves of the reference stays below in {100 * confidence:g} % of them; halves "
        "are smaller than the sets, so it is an upper estimate",
    )


def fidelity_table(fidelity: Fidelity) -> Table:
    """For the console."""
    table = Table(
        title="Generated users compared with the reference", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    for position, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="right" if position else "left", no_wrap=True)
    for row in _rows(fidelity):
        table.add_row(*row)
    return table


def fidelity_markdown(fidelity: Fidelity, confidence: float) -> str:
    """The same as Markdown, with its notes."""
    lines = [_HEADINGS, ("---",) * len(_HEADINGS), *_rows(fidelity)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    points = "\n".join(f"- {note}" for note in notes(fidelity, confidence))
    return f"# Generated users compared with the reference\n\n{table}\n\n{points}\n"


def draw_fidelity(tallies: Sequence[BehaviourTally], fidelity: Fidelity, stem: Path) -> list[Path]:
    """Cumulative distributions of turns, words and requests, and bars of the shares, of (generated, reference); writes
    <stem>.png and <stem>.pdf and returns their paths."""
    spread: list[Metric] = [metric for metric in METRICS if metric not in SHARES]
    figure = Figure(figsize=(3.0 * (len(spread) + 1), 2.9), layout="constrained")
    panels = figure.subplots(1, len(spread) + 1)
    for axes, metric in zip(panels, spread, strict=False):
        _draw_distribution(axes, metric, tallies)
    _draw_shares(panels[-1], [compared for compared in fidelity.metrics if compared.metric in SHARES])
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return save_figure(figure, stem)


def _draw_distribution(axes: Any, metric: Metric, tallies: Sequence[BehaviourTally]) -> None:
    widest = 1.0
    for number, (name, tally) in enumerate(zip(NAMES, tallies, strict=True)):
        values, counts = np.unique([v for own in tally.values(metric) for v in own], return_counts=True)
        shares = np.cumsum(counts) / counts.sum()
        widest = max(widest, float(values[np.searchsorted(shares, _WIDEST)]))
        style = {"color": COLOURS[number], "linestyle": ("-", "--")[number], "linewidth": 1.4}
        axes.step([0.0, *values], [0.0, *shares], where="post", label=name, **style)
    axes.set_xlim(0, widest)
    axes.set_xlabel(METRICS[metric], fontsize=8)
    axes.set_ylabel("cumulative share" if metric == "user_turns" else "", fontsize=8)
    plain_axes(axes)


def _draw_shares(axes: Any, compared: Sequence[MetricComparison]) -> None:
    places = np.arange(len(compared))
    for number, name in enumerate(NAMES):
        heights = [100 * getattr(metric, f"{name}_mean") for metric in compared]
        axes.bar(places + 0.38 * (number - 0.5), heights, 0.36, color=COLOURS[number], label=name)
    axes.set_xticks(places, [metric.metric for metric in compared])
    axes.set_ylabel("% of user messages", fontsize=8)
    plain_axes(axes)
