"""The power plan of an experiment: can its design resolve what it claims, what would, and what does that cost?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from core.messages import Frozen
from evaluation.ablation.registry import Entry
from evaluation.ablation.scores import cell_scores
from evaluation.ablation.settings import AblationSettings, OutcomeSettings, StageName
from evaluation.metrics.effects import CellScores
from evaluation.metrics.power import Components, Design, components_of, power, smallest_designs, smallest_difference


class Proposal(Frozen):
    """A design that resolves the difference with POWER, and its cost on this machine."""

    design: Design
    hours: float
    cost: float


class PlannedClaim(Frozen):
    """`power` is the chance that the configured `design` resolves `difference`, a share; `smallest` the difference that
    it resolves with POWER (None: none does). `proposal` is the cheapest design that resolves it, None if none of those
    tried does. `pilot`: the components come from the registry."""

    claim: str
    difference: float
    design: Design
    components: Components
    pilot: bool
    power: float
    smallest: float | None
    proposal: Proposal | None


class PowerPlan(Frozen):
    """`seconds` of each stage are measured if `measured`; `hours` is what the configured experiment takes with nothing
    done yet."""

    experiment: str
    claims: tuple[PlannedClaim, ...]
    seconds: dict[str, float]
    measured: bool
    hours: float
    cost: float


def power_plan(settings: AblationSettings, cells: Mapping[str, Sequence[Entry]], pilots: Sequence[Entry]) -> PowerPlan:
    """The plan from entries of this experiment's `cells`, else from other `pilots` of its profile for the time, else
    from assumptions. Trials and tasks are those measured, or the complete benchmark once."""
    seconds, measured = stage_seconds(settings, [*(e for of in cells.values() for e in of), *pilots])
    claims = []
    alpha = settings.alpha / max(1, len(settings.measurable))  # Holm's hardest case
    for claim in settings.measurable:
        outcome = settings.outcomes[claim.outcome]
        scores = cell_scores(outcome, cells)
        pilot = components_of([*scores.values()])
        components = pilot or outcome.assume or settings.planning.assume
        paper = claim.number(settings.paper_model)
        difference = abs(paper) if paper else settings.planning.difference / 100
        design = _design(settings, outcome, scores)
        claims.append(
            PlannedClaim(
                claim=claim.key,
                difference=difference,
                design=design,
                components=components,
                pilot=pilot is not None,
                power=power(components, design, difference, alpha),
                smallest=smallest_difference(components, design, alpha),
                proposal=_cheapest(settings, components, design, difference, alpha, seconds),
            )
        )
    hours = _hours(settings, len(settings.seeds), 1.0, seconds)
    return PowerPlan(
        experiment=settings.experiment,
        claims=tuple(claims),
        seconds=seconds,
        measured=measured,
        hours=hours,
        cost=hours * settings.planning.cost_per_hour,
    )


def stage_seconds(settings: AblationSettings, entries: Sequence[Entry]) -> tuple[dict[str, float], bool]:
    """The median time of each stage in entries of the settings' profile, or the assumed times."""
    runs = [entry.runs for entry in entries if entry.measured.profile == settings.profile]
    planning = settings.planning
    assumed = {"generate": planning.generate_s, "train": planning.train_s, "evaluate": planning.evaluate_s}
    times = {stage: [of[stage].seconds for of in runs if stage in of] for stage in assumed}
    return {stage: median(times[stage]) if times[stage] else s for stage, s in assumed.items()}, bool(runs)


def _design(settings: AblationSettings, outcome: OutcomeSettings, scores: Mapping[str, CellScores]) -> Design:
    known = next(iter(scores.values()), None)
    return Design(
        tasks=known.tasks if known else outcome.tasks,
        seeds=len(settings.seeds),
        trials=known.trials if known else 1,
        cells=len(settings.runnable),
    )


def _cheapest(
    settings: AblationSettings,
    components: Components,
    design: Design,
    difference: float,
    alpha: float,
    seconds: Mapping[str, float],
) -> Proposal | None:
    proposals = []
    tasks = max(design.tasks, 2)
    for found in smallest_designs(components, tasks, design.cells, difference, alpha):
        hours = _hours(settings, found.seeds, found.trials / design.trials, seconds)
        proposals.append(Proposal(design=found, hours=hours, cost=hours * settings.planning.cost_per_hour))
    return min(proposals, key=lambda proposal: proposal.hours, default=None)


def _hours(settings: AblationSettings, seeds: int, trials: float, seconds: Mapping[str, float]) -> float:
    """Hours of the experiment with `trials` times as many trials. A stage runs once for cells with the same overrides,
    and once for all seeds if it is not seeded."""

    def runs(*stages: StageName) -> int:
        """Distinct runs: those of the last stage depend on all before it."""
        chains = {(*(str(getattr(cell, stage)) for stage in stages), str(cell.data)) for cell in cells}
        return len(chains) * (seeds if set(stages) & set(settings.seeded) else 1)

    cells = list(settings.runnable.values())
    generations = runs("generate") if any(cell.data is None for cell in cells) else 0
    trainings = runs("generate", "train")
    evaluations = len(cells) * (seeds if settings.seeded else 1)
    total = (
        generations * seconds["generate"] + trainings * seconds["train"] + evaluations * trials * seconds["evaluate"]
    )
    return total / 3600
