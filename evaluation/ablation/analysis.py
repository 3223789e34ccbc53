"""The analysis of an experiment: scores, differences with intervals, and a verdict for each claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.messages import Frozen
from evaluation.ablation.registry import Entry
from evaluation.ablation.scores import cell_scores
from evaluation.ablation.settings import AblationSettings, ClaimSettings
from evaluation.metrics.effects import Effect, effect, seed_variance
from evaluation.metrics.verdicts import Hypothesis, Verdict, judge

NOT_MEASURED = Verdict(decision="unresolved", reason="not measured", p_zero=None, p_claimed=None)


class CellResult(Frozen):
    """A cell over its seeds: `scores` has each seed's score by outcome, `measures` the means over seeds."""

    cell: str
    name: str
    seeds: tuple[int, ...]
    scores: dict[str, tuple[float, ...]]
    measures: dict[str, float]


class ClaimResult(Frozen):
    """A claim with what was measured; `paper` is the paper's difference in points."""

    claim: ClaimSettings
    paper: float | None
    effect: Effect | None
    verdict: Verdict


class Analysis(Frozen):
    """`outcomes` has the name of each score in tables; `conditions` says how scores were made: engine, parsers,
    releases, simulators, commits."""

    experiment: str
    title: str
    paper_model: str
    alpha: float
    outcomes: dict[str, str]
    cells: tuple[CellResult, ...]
    claims: tuple[ClaimResult, ...]
    conditions: tuple[str, ...]

    def name(self, claim: ClaimSettings) -> str:
        """The claim as tables and figures have it."""
        names = {cell.cell: cell.name for cell in self.cells}
        return f"{names[claim.cell]} − {names[claim.against]}, {self.outcomes[claim.outcome]}"


def analyse(settings: AblationSettings, cells: Mapping[str, Sequence[Entry]]) -> Analysis:
    """The analysis of the `cells`' entries; a claim whose score was not measured in both cells stays unresolved."""
    scores = {name: cell_scores(outcome, cells) for name, outcome in settings.outcomes.items()}
    between_seeds = {name: seed_variance([*of.values()]) for name, of in scores.items()}
    effects: dict[str, Effect] = {}
    for claim in settings.claims:
        of = scores[claim.outcome]
        if claim.cell in of and claim.against in of:
            effects[claim.key] = effect(of[claim.cell], of[claim.against], between_seeds[claim.outcome])
    model = settings.paper_model
    judged = [claim for claim in settings.claims if claim.key in effects]
    hypotheses = [
        Hypothesis(effect=effects[claim.key], claimed=claim.number(model), sign=claim.sign(model)) for claim in judged
    ]
    verdicts = dict(zip((claim.key for claim in judged), judge(hypotheses, settings.alpha), strict=True))
    return Analysis(
        experiment=settings.experiment,
        title=settings.title,
        paper_model=model,
        alpha=settings.alpha,
        outcomes={name: outcome.name for name, outcome in settings.outcomes.items()},
        cells=tuple(_cell(settings, name, cells.get(name, ()), scores) for name in settings.cells),
        claims=tuple(
            ClaimResult(
                claim=claim,
                paper=claim.paper.get(model),
                effect=effects.get(claim.key),
                verdict=verdicts.get(claim.key, NOT_MEASURED),
            )
            for claim in settings.claims
        ),
        conditions=tuple(conditions([entry for entries in cells.values() for entry in entries])),
    )


def _cell(settings: AblationSettings, name: str, entries: Sequence[Entry], scores: Mapping[str, object]) -> CellResult:
    by_outcome = {
        outcome: tuple(map(float, of[name].by_seed))
        for outcome, of in ((outcome, cell_scores(settings.outcomes[outcome], {name: entries})) for outcome in scores)
        if name in of
    }
    measured = [entry.measured for entry in entries]
    rows = [{"dialogues": m.dialogues, "trained_tokens": m.trained_tokens, **m.measures} for m in measured]
    names = dict.fromkeys(key for row in rows for key in row)
    return CellResult(
        cell=name,
        name=settings.cells[name].name,
        seeds=tuple(m.seed for m in measured),
        scores=by_outcome,
        measures={key: sum(row.get(key, 0) for row in rows) / len(rows) for key in names},
    )


def conditions(entries: Sequence[Entry]) -> list[str]:
    """What a score depends on besides the model, with every value that occurs; more than one value is a caveat."""
    lines = []
    for name in ("engine", "parsers"):
        values = [" ".join(f"{k} {v}" for k, v in sorted(getattr(e.measured, name).items())) for e in entries]
        lines.append(f"{name}: {_several(values)}")
    for name, heading in (("harnesses", "task releases"), ("simulators", "user simulators"), ("judges", "judges")):
        by_benchmark: dict[str, list[str]] = {}
        for entry in entries:
            for benchmark, values in getattr(entry.measured, name).items():
                by_benchmark.setdefault(benchmark, []).extend(values)
        parts = [f"{benchmark} {_several(values)}" for benchmark, values in sorted(by_benchmark.items()) if values]
        lines += [f"{heading}: {'; '.join(parts)}"] if parts else []
    lines.append(f"profile: {_several([e.measured.profile for e in entries])}")
    lines.append(f"sampling: {_several([e.measured.sampling.model_dump_json(exclude_none=True) for e in entries])}")
    lines.append(f"commits (+: with uncommitted changes): {_several([c for e in entries for c in e.commits])}")
    return lines


def _several(values: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(values))
    return " and ".join(distinct) or "–"
