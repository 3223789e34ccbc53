"""Reports of experiments: the power plan, the table of cells, and the verdicts, on the console and as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from core.figures import save_figure
from core.files import write_atomically, write_json
from evaluation.ablation.analysis import Analysis, CellResult, ClaimResult
from evaluation.ablation.power_plan import PlannedClaim, PowerPlan
from evaluation.metrics.power import POWER, SEEDS, TRIALS
from evaluation.reports.ablation_figure import drawn
from evaluation.reports.paper_table import PaperTable

PLAN, RESULTS = "plan.json", "results.json"
"""Files of outputs/ablations/<experiment>/."""

STYLES = {"reproduced": "green", "contradicted": "red", "unresolved": "yellow"}


def plan_table(plan: PowerPlan) -> PaperTable:
    """What the configured experiment can resolve, and what would resolve each difference."""
    source = "measured" if plan.measured else "assumed"
    times = ", ".join(f"{stage} {seconds:,.0f} s" for stage, seconds in plan.seconds.items())
    cost = f", cost {plan.cost:,.0f}" if plan.cost else ""
    return PaperTable(
        name="plan",
        title=f"{plan.experiment} · power plan",
        columns=(
            "difference",
            "points",
            "tasks × trials × seeds",
            "power",
            f"resolves at {POWER:.0%}",
            "trials × seeds needed",
            "hours",
        ),
        rows=tuple(_plan_row(claim) for claim in plan.claims),
        notes=(
            f"times {source}: {times}; as configured about {plan.hours:,.2f} hours if nothing was run yet{cost}",
            "power: the chance that a true difference of this size is shown at the experiment's level, Holm's hardest case",
            "*: variation of tasks, seeds and trials assumed, not measured; one seed shows nothing",
        ),
    )


def _plan_row(claim: PlannedClaim) -> tuple[str, ...]:
    design, proposal = claim.design, claim.proposal
    smallest = "nothing" if claim.smallest is None else f"{100 * claim.smallest:.1f} points"
    needed = (
        f"{proposal.design.trials} × {proposal.design.seeds}" if proposal else f"more than {TRIALS[-1]} × {SEEDS[-1]}"
    )
    return (
        claim.claim,
        f"{100 * claim.difference:.1f}",
        f"{design.tasks} × {design.trials} × {design.seeds}",
        f"{claim.power:.0%}{'' if claim.pilot else '*'}",
        smallest,
        needed,
        f"{proposal.hours:,.1f}" if proposal else "–",
    )


def cell_table(analysis: Analysis) -> PaperTable:
    """A row for each cell: its scores in % over seeds, and its measures."""
    outcomes = [name for name in analysis.outcomes if any(name in cell.scores for cell in analysis.cells)]
    measures = list(dict.fromkeys(name for cell in analysis.cells for name in cell.measures))
    return PaperTable(
        name=analysis.experiment,
        title=f"{analysis.title} · scores in %, mean over seeds (least to most)",
        columns=("cell", "seeds", *(analysis.outcomes[name] for name in outcomes), *map(_heading, measures)),
        rows=tuple(
            (
                cell.name,
                str(len(cell.seeds)),
                *(_scores(cell, name) for name in outcomes),
                *(_number(cell.measures.get(name)) for name in measures),
            )
            for cell in analysis.cells
        ),
        notes=analysis.conditions,
    )


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _heading(measure: str) -> str:
    return measure.replace("_", " ")


def _scores(cell: CellResult, outcome: str) -> str:
    scores = [100 * score for score in cell.scores.get(outcome, ())]
    if not scores:
        return "–"
    mean = f"{sum(scores) / len(scores):.1f}"
    return mean if len(scores) == 1 else f"{mean} ({min(scores):.1f} to {max(scores):.1f})"


def verdict_table(analysis: Analysis) -> PaperTable:
    """A row for each claim: the paper's difference, ours with its interval, and the verdict."""
    return PaperTable(
        name=f"{analysis.experiment}_verdicts",
        title=f"{analysis.title} · differences in points, compared with {analysis.paper_model} in the paper",
        columns=(
            "difference",
            "paper",
            "measured",
            "tasks × trials × seeds",
            "p (none)",
            "p (paper's)",
            "verdict",
            "why",
        ),
        rows=tuple(_verdict_row(analysis, claim) for claim in analysis.claims),
        notes=(
            "measured: 95 % intervals over tasks, seeds and trials (over tasks and trials with one seed)",
            f"p: Holm-adjusted over the experiment, of no difference and of the paper's; verdicts at {analysis.alpha:g}",
        ),
    )


def _verdict_row(analysis: Analysis, result: ClaimResult) -> tuple[str, ...]:
    claim, effect, verdict = result.claim, result.effect, result.verdict
    expected = {"more": "> 0", "less": "< 0", "nothing": "–"}[claim.expect]
    measured, design = "–", "–"
    if effect:
        low, high = effect.interval()
        measured = f"{100 * effect.value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
        design = f"{effect.tasks} × {effect.trials} × {effect.seeds}"
    return (
        analysis.name(claim),
        expected if result.paper is None else f"{result.paper:+.1f}",
        measured,
        design,
        *("–" if p is None else f"{p:.3f}" for p in (verdict.p_zero, verdict.p_claimed)),
        verdict.decision,
        verdict.reason,
    )


def show_plan(console: Console, plan: PowerPlan) -> None:
    _show(console, plan_table(plan))


def show_analysis(console: Console, analysis: Analysis) -> None:
    for table in (cell_table(analysis), verdict_table(analysis)):
        _show(console, table)


def write_plan(plan: PowerPlan, directory: Path) -> None:
    write_json(directory / PLAN, plan.model_dump(mode="json"))
    write_atomically(directory / "plan.md", plan_table(plan).markdown() + "\n")


def write_analysis(analysis: Analysis, directory: Path) -> list[str]:
    """Write report.md, results.json and the figure to `directory`; returns their names."""
    tables = (cell_table(analysis), verdict_table(analysis))
    write_atomically(directory / "report.md", "\n\n".join(table.markdown() for table in tables) + "\n")
    write_json(directory / RESULTS, analysis.model_dump(mode="json"))
    drawing = drawn(analysis)
    figures = save_figure(drawing, directory / "differences") if drawing else []
    return ["report.md", RESULTS, *(path.name for path in figures)]


def _show(console: Console, table: PaperTable) -> None:
    view = Table(title=table.title, box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    for number, column in enumerate(table.columns):
        view.add_column(column, justify="left" if number == 0 or column in ("verdict", "why") else "right")
    for row in table.rows:
        view.add_row(*map(_styled, row))
    console.print(view)
    for note in table.notes:
        console.print(f"  {note}", style="dim", markup=False, highlight=False, soft_wrap=True)


def _styled(cell: str) -> str:
    return f"[{STYLES[cell]}]{cell}[/]" if cell in STYLES else cell


def summary_lines(analyses: Sequence[Analysis]) -> list[str]:
    """One line for each experiment: how many claims were reproduced, contradicted and left open."""
    lines = []
    for analysis in analyses:
        decisions = [claim.verdict.decision for claim in analysis.claims]
        counts = ", ".join(f"{decisions.count(name)} {name}" for name in STYLES if name in decisions)
        lines.append(f"{analysis.title}: {counts or 'nothing claimed'}")
    return lines
