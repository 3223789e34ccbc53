"""The databases of the held-out benchmark: unseen in training, or used in training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from core.dialogue import Dialogue
from core.journal import read_jsonl, write_jsonl
from core.policy import Policy
from core.settings import UserError
from evaluation.benchmark import EvaluationContext
from generation.llm.base import LLM, LLMError
from generation.llm.meter import Meter
from generation.pipeline import DomainTools
from generation.policies.writer import PolicySettings, write_policy
from generation.run import domains
from generation.seeds.base import Seeds
from generation.tools.choice import ToolChoice, ToolChoiceSettings
from generation.tools.from_questions import ToolmakingSettings, make_tools
from generation.tools.toolset import Toolset

DatabaseKind = Literal["unseen_databases", "trained_databases"]

_BATCH = 5
"""Tools of an unseen database per request."""
_ATTEMPTS = 3
"""Consecutive requests without a usable answer, after which the tools so far are taken."""


class HeldoutDatabases:
    """Finds the databases and their tools.

    Each database has at most `max_tools` tools. Those of unseen databases, and their policies of at most `policy_rules`
    rules, are generated once per evaluation and stored in `path`; trained databases keep theirs.
    `rows_per_table` rows of each table, sampled with `seed`, are what the task writer's views are drawn from.
    """

    def __init__(
        self,
        unseen: Seeds,
        simulator: LLM,
        context: EvaluationContext,
        path: Path,
        *,
        max_tools: int,
        policy_rules: int,
        rows_per_table: int,
        seed: int,
    ) -> None:
        self.unseen = unseen
        self.simulator = simulator
        self.path = path
        self.max_tools = max_tools
        self.policy_rules = policy_rules
        self.rows_per_table = rows_per_table
        self.seed = seed
        self.own_generations = context.generations
        self.validation_domains = context.validation_domains
        self.generations = tuple(dict.fromkeys((*context.all_generations, *context.generations)))

    async def find(self, kinds: Sequence[DatabaseKind]) -> dict[DatabaseKind, tuple[DomainTools, ...]]:
        """The domains of each kind. They exclude every goal in the training data of any model of this evaluation, so
        that all models can get the same tasks. Raises UserError for a kind without domains."""
        trained = {
            run: [toolset for toolset in read_jsonl(run / "toolsets.jsonl", Toolset) if toolset.tools]
            for run in self.generations
        }
        toolsets: dict[DatabaseKind, list[Toolset]] = {}
        if "unseen_databases" in kinds:
            toolsets["unseen_databases"] = await self._unseen_toolsets()
            _refuse_trained(toolsets["unseen_databases"], [toolset for run in trained.values() for toolset in run])
        if "trained_databases" in kinds:
            own: dict[str, Toolset] = {}  # a database of several runs keeps the tools of the first one
            for toolset in (toolset for run in self.own_generations for toolset in trained[run]):
                if toolset.database and toolset.domain not in self.validation_domains:
                    own.setdefault(toolset.domain, self._part(toolset))
            toolsets["trained_databases"] = list(own.values())
        goals = frozenset(goal for run in self.generations for goal in _goals(run))
        return {kind: self._domains(kind, of_kind, goals) for kind, of_kind in toolsets.items()}

    def _part(self, toolset: Toolset) -> Toolset:
        """The toolset with at most `max_tools` of its pool, which belong together: no dialogue of the training data
        offers them all."""
        choice = ToolChoice(toolset.tools, ToolChoiceSettings(count=self.max_tools), f"{self.seed}/{toolset.domain}")
        return toolset.model_copy(update={"tools": choice.offered(0).tools})

    def _domains(
        self, kind: DatabaseKind, toolsets: Sequence[Toolset], excluded_goals: frozenset[str]
    ) -> tuple[DomainTools, ...]:
        usable = domains(toolsets, self.rows_per_table, self.seed)
        if not usable:
            reasons = [f"{toolset.domain}: {', '.join(toolset.refused) or 'no tools'}" for toolset in toolsets]
            raise UserError(
                f"held-out: no database of {kind} has enough tools ({'; '.join(reasons) or 'no database was found'})"
            )
        return tuple(
            replace(tools, domain=replace(tools.domain, excluded_goals=excluded_goals, policy=_policy(tools.toolset)))
            for tools in usable
        )

    async def _unseen_toolsets(self) -> list[Toolset]:
        if self.path.is_file():
            return list(read_jsonl(self.path, Toolset))
        seeds = self.unseen.load()
        if without := [seed.name for seed in seeds if seed.database is None]:
            raise UserError(f"held-out: tools are executed on databases, but {', '.join(without)} has no database")
        settings = ToolmakingSettings(
            max_tools=self.max_tools, batch=_BATCH, attempts=_ATTEMPTS, questions=0, expansion=0
        )
        policy = PolicySettings(rules=self.policy_rules, attempts=_ATTEMPTS, file=None)
        try:
            toolsets = [await make_tools(seed, Meter(self.simulator), settings) for seed in seeds]
            if self.policy_rules:
                toolsets = [await write_policy(t, Meter(self.simulator), policy) if t.tools else t for t in toolsets]
        except LLMError as error:
            raise UserError(f"held-out: the tool maker does not answer: {error}") from None
        write_jsonl(self.path, toolsets)
        return toolsets


def _policy(toolset: Toolset) -> Policy | None:
    """The rules for the toolset's tools; None if there are none."""
    policy = toolset.policy.for_tools({tool.name for tool in toolset.tools}) if toolset.policy else None
    return policy if policy and (policy.rules or policy.text) else None


def _refuse_trained(unseen: Sequence[Toolset], trained: Sequence[Toolset]) -> None:
    """Raises UserError for a database that is in a model's training data."""
    trained_names = {toolset.database_sha256: toolset.domain for toolset in trained if toolset.database_sha256}
    for toolset in unseen:
        if toolset.database_sha256 in trained_names:
            raise UserError(
                f"held-out: the database {toolset.domain} was trained on, as {trained_names[toolset.database_sha256]}; "
                "benchmarks.heldout.databases must name other ones"
            )


def _goals(generation: Path) -> Iterator[str]:
    """The goals of a generation run's dialogues."""
    for file in sorted(generation.glob("*/dialogues.jsonl")):
        for dialogue in read_jsonl(file, Dialogue):
            yield from (task.goal for task in dialogue.tasks)
