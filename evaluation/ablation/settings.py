"""Settings of experiments: the keys of conf/ablation.yaml and conf/ablation/NAME.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from core.settings import Settings, closest
from evaluation.metrics.power import Components

StageName = Literal["generate", "train", "evaluate"]
Overrides = tuple[str, ...]


Direction = Literal["more", "less", "nothing"]
SIGNS: dict[Direction, Literal[-1, 0, 1]] = {"more": 1, "less": -1, "nothing": 0}


class StageOverrides(Settings):
    """Hydra overrides of each stage, as after `make generate`, `make train` and `make eval`."""

    generate: Overrides = Field(default=(), description="overrides of the generation")
    export: Overrides | None = Field(
        default=None, description="overrides of the export; null: train on the generation as it is"
    )
    train: Overrides = Field(default=(), description="overrides of the training")
    evaluate: Overrides = Field(default=(), description="overrides of the evaluation")


class CellSettings(StageOverrides):
    """One cell: what it sets differently from the others."""

    name: str = Field(description="name in tables and figures")
    model: Literal["trained", "untrained"] = Field(
        default="trained", description="evaluate the trained model, or the one that its training starts from"
    )
    data: Path | None = Field(
        default=None, description="train on this run, export or file instead of generating; null: generate"
    )
    requires_data: bool = Field(default=False, description="leave the cell out unless `data` is given")


class OutcomeSettings(Settings):
    """A score: the mean Pass^k of the tasks of some categories of a benchmark."""

    name: str = Field(description="name in tables and figures")
    benchmark: str = Field(description="benchmark whose trials are counted")
    categories: tuple[str, ...] = Field(description="its categories, with * and ? as in file names")
    weights: tuple[float, ...] | None = Field(
        default=None, description="weights of `categories` in the score; null: every task counts alike"
    )
    k: int = Field(default=1, ge=1, description="Pass^k: all of k trials succeed; 1: Pass@1")
    tasks: int = Field(ge=2, description="tasks in the complete benchmark, for the plan")
    assume: Components | None = Field(
        default=None, description="variation assumed by the plan for this score; null: the common `assume`"
    )

    @model_validator(mode="after")
    def _one_weight_each(self) -> OutcomeSettings:
        if self.weights and len(self.weights) != len(self.categories):
            raise ValueError(f"{len(self.weights)} weights were given for {len(self.categories)} categories")
        return self


class ClaimSettings(Settings):
    """A difference that the experiment is about: the score of `cell` minus that of `against`."""

    cell: str = Field(description="a cell")
    against: str = Field(description="the cell that it is compared with")
    outcome: str = Field(description="the score, an entry of `outcomes`")
    paper: dict[str, float] = Field(
        default={}, description="model of the paper -> its difference in points; empty: the paper has no number"
    )
    expect: Direction = Field(
        default="nothing", description="claimed direction where the paper has no number; nothing: no claim"
    )

    @property
    def key(self) -> str:
        return f"{self.cell} − {self.against} on {self.outcome}"

    def number(self, model: str) -> float | None:
        """The paper's difference as a share; None without one for `model`."""
        points = self.paper.get(model)
        return None if points is None else points / 100

    def sign(self, model: str) -> Literal[-1, 0, 1]:
        points = self.number(model)
        if points is None:
            return SIGNS[self.expect]
        return 1 if points > 0 else -1 if points < 0 else 0


class PlanSettings(Settings):
    """What the power plan assumes where nothing was measured."""

    assume: Components = Field(description="variation of scores, where the registry has no pilot")
    difference: float = Field(
        gt=0, le=100, description="difference to resolve where the paper has no number, in points"
    )
    generate_s: float = Field(gt=0, description="seconds of a generation, where none was measured")
    train_s: float = Field(gt=0, description="seconds of a training")
    evaluate_s: float = Field(gt=0, description="seconds of an evaluation with the configured tasks and trials")
    cost_per_hour: float = Field(ge=0, description="cost of the machine per hour, for the plan")


class AblationSettings(Settings):
    """An experiment: cells, each trained with several seeds on equal budgets, and what is claimed of their scores."""

    profile: str = Field(description="group of defaults, a file of conf/profile/ablation/; also the stages' profile")
    outputs: Path = Field(description="directory of all runs")
    experiment: str = Field(description="name of the experiment")
    title: str = Field(description="what it is about, for tables and figures")
    cells: dict[str, CellSettings] = Field(min_length=1, description="what is compared")
    outcomes: dict[str, OutcomeSettings] = Field(min_length=1, description="scores")
    claims: tuple[ClaimSettings, ...] = Field(default=(), description="differences to judge")
    measures: dict[str, str] = Field(
        default={},
        description="further columns: name -> dotted path in a pipeline's statistics, such as turn.mean; `trained_tokens` "
        "and `dialogues` are always shown",
    )
    of_profile: StageOverrides = Field(description="overrides of all cells that belong to the profile")
    common: StageOverrides = Field(
        description="overrides of all cells, which win over the profile's; a cell's own ones win"
    )
    budget: int | None = Field(
        ge=1, description="trained tokens of every cell (`train_tokens` of the training); null: as the training is set"
    )
    seeds: tuple[int, ...] = Field(min_length=1, description="random seeds; every cell runs with each of them")
    seeded: tuple[StageName, ...] = Field(
        description="stages that get the seed: trainings alone, or generations too, which then count as chance"
    )
    public_data: dict[str, Path | None] = Field(
        default={}, description="data set -> its converted run or file, for cells that need it"
    )
    benchmarks: tuple[str, ...] = Field(
        min_length=1, description="benchmarks to run, of those that the claims are about"
    )
    paper_model: str = Field(description="model of the paper whose differences are compared with")
    alpha: float = Field(gt=0, lt=1, description="chance of a false verdict in an experiment (Holm)")
    plan: bool = Field(description="stop after the power plan")
    report: int | None = Field(
        ge=0, description="most trials in the experiment's report, drawn at random; null: no report"
    )
    planning: PlanSettings = Field(description="assumptions of the power plan")

    @property
    def runnable(self) -> dict[str, CellSettings]:
        """The cells that are not left out for lack of data."""
        return {name: cell for name, cell in self.cells.items() if cell.data or not cell.requires_data}

    @property
    def needed_benchmarks(self) -> tuple[str, ...]:
        """The benchmarks to run: those of the claims' scores, without claims those of all scores."""
        of_claims = {claim.outcome for claim in self.claims} or set(self.outcomes)
        needed = {self.outcomes[name].benchmark for name in of_claims}
        return tuple(name for name in self.benchmarks if name in needed)

    @property
    def measurable(self) -> tuple[ClaimSettings, ...]:
        """The claims about cells and benchmarks that are run."""
        return tuple(
            claim
            for claim in self.claims
            if {claim.cell, claim.against} <= self.runnable.keys()
            and self.outcomes[claim.outcome].benchmark in self.benchmarks
        )

    @model_validator(mode="after")
    def _known_names(self) -> AblationSettings:
        for claim in self.claims:
            for given, known in (
                (claim.cell, self.cells),
                (claim.against, self.cells),
                (claim.outcome, self.outcomes),
            ):
                if given not in known:
                    raise ValueError(f"a claim names {given!r}; {closest(given, list(known))}")
        if not self.needed_benchmarks:
            needed = sorted({self.outcomes[claim.outcome].benchmark for claim in self.claims})
            raise ValueError(f"benchmarks={[*self.benchmarks]} has none of those that claims are about: {needed}")
        if repeated := sorted({seed for seed in self.seeds if self.seeds.count(seed) > 1}):
            raise ValueError(f"seed {repeated[0]} is given twice")
        return self
