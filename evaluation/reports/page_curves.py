"""Pass@k and Pass^k against k, a figure for each benchmark whose tasks were tried several times."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure as Drawing

from core.figures import plain_axes, svg
from core.page.contents import Figure
from evaluation.metrics.pass_at_k import Estimate, Estimator, estimate, pass_at_k, pass_hat_k, trial_counts
from evaluation.metrics.scores import by_benchmark
from evaluation.reports.figure_5 import draw_curve
from evaluation.trials import TrialRecord

PANELS: dict[str, Estimator] = {"Pass@k: any of k trials": pass_at_k, "Pass^k: all of k trials": pass_hat_k}
Curves = dict[str, dict[int, Estimate]]
"""Model -> k -> estimate."""


def pass_curves(records: Sequence[TrialRecord]) -> list[Figure]:
    """Nothing for a benchmark whose tasks were each completed at most once."""
    figures = []
    for benchmark, trials in by_benchmark(records).items():
        panels = {title: curves(trials, estimator) for title, estimator in PANELS.items()}
        if all(max(points, default=0) < 2 for of_panel in panels.values() for points in of_panel.values()):
            continue
        figures.append(
            Figure(
                title=f"{benchmark}: Pass@k and Pass^k",
                svg=_draw(panels),
                alt=" ".join(_in_words(title, of_panel) for title, of_panel in panels.items()),
                note="Bands: 95 % intervals over tasks. Each k is averaged over the tasks with at least k completed trials.",
            )
        )
    return figures


def curves(records: Sequence[TrialRecord], estimator: Estimator) -> Curves:
    """The estimates of each model at each k for which a task has enough completed trials."""
    found = {}
    for model in dict.fromkeys(record.model for record in records):
        counts = trial_counts(record for record in records if record.model == model)
        most = max((completed for completed, _ in counts.values()), default=0)
        found[model] = {k: point for k in range(1, most + 1) if (point := estimate(counts, estimator, k))}
    return found


def _in_words(title: str, of_panel: Curves) -> str:
    parts = [
        f"{model} {', '.join(f'{100 * point.value:.0f} % at k={k}' for k, point in points.items())}"
        for model, points in of_panel.items()
        if points
    ]
    return f"{title}: {'; '.join(parts)}."


def _draw(panels: dict[str, Curves]) -> str:
    drawing = Drawing(figsize=(7.2, 3.0), layout="constrained")
    for axes, (title, of_panel) in zip(drawing.subplots(1, len(panels), sharey=True), panels.items(), strict=True):
        for number, (model, points) in enumerate(of_panel.items()):
            if points:
                draw_curve(axes, number, model, points)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("k", fontsize=8)
        axes.set_xticks(sorted({k for points in of_panel.values() for k in points}))
        axes.set_ylim(-3, 103)
        plain_axes(axes)
    drawing.axes[0].set_ylabel("%", fontsize=8)
    drawing.axes[0].legend(fontsize=7, frameon=False)
    return svg(drawing)
