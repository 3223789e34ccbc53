"""On which databases the held-out benchmark is held: those that a model's training never met, and those that it trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from core.dialogue import Dialogue
from core.journal import read_jsonl, write_jsonl
from core.settings import Settings, UserError
from evaluation.benchmark import EvaluationContext
from generation.llm.base import LLM, LLMError
from generation.llm.meter import Meter
from generation.pipeline import DomainTools
from generation.run import domains
from generation.seeds.base import Seeds
from generation.tools.from_questions import ToolmakingSettings, make_tools
from generation.tools.toolset import Toolset

Databases = Literal["unseen_databases", "trained_databases"]

_ATTEMPTS = 3
"""How often tools are asked for anew where the answer cannot be used."""


class DomainSettings(Settings):
    """`max_tools` of an unseen database, `rows_per_table` for task writers to choose from, drawn with `seed`."""

    max_tools: int
    rows_per_table: int
    seed: int


class Domains:
    """Finds the databases and their tools; those of unseen ones are made once a run, into `path`."""

    def __init__(
        self, databases: Seeds, simulator: LLM, context: EvaluationContext, settings: DomainSettings, path: Path
    ) -> None:
        self.databases = databases
        self.simulator = simulator
        self.settings = settings
        self.path = path
        self.generation = context.generation
        self.validation_domains = context.validation_domains
        runs = (*context.all_generations, *([context.generation] if context.generation else []))
        self.runs = tuple(dict.fromkeys(runs))

    async def find(self, categories: Sequence[Databases]) -> dict[Databases, tuple[DomainTools, ...]]:
        """The domains of each category, with the goals of all training data of this run as goals not to pose again, so that all
        its models can be given the same tasks. Raises UserError where one has no domain."""
        trained = {
            run: [each for each in read_jsonl(run / "toolsets.jsonl", Toolset) if each.tools] for run in self.runs
        }
        made: dict[Databases, list[Toolset]] = {}
        if "unseen_databases" in categories:
            made["unseen_databases"] = await self._unseen()
            _refuse_trained(made["unseen_databases"], [each for sets in trained.values() for each in sets])
        if "trained_databases" in categories:
            if self.generation is None:
                raise UserError(
                    "unseen tasks on trained databases need the generation run that made the training data: give "
                    "generation=outputs/generate/RUN, or benchmarks.heldout.categories=[unseen_databases]"
                )
            executable = [each for each in trained[self.generation] if each.database]
            made["trained_databases"] = [each for each in executable if each.domain not in self.validation_domains]
        seen = frozenset(goal for run in self.runs for goal in _goals(run))
        return {databases: self._subjects(databases, toolsets, seen) for databases, toolsets in made.items()}

    def _subjects(
        self, databases: Databases, toolsets: Sequence[Toolset], seen: frozenset[str]
    ) -> tuple[DomainTools, ...]:
        found = domains(toolsets, self.settings.rows_per_table, self.settings.seed)
        if not found:
            why = "; ".join(f"{each.domain}: {', '.join(each.refused) or 'no tools'}" for each in toolsets)
            raise UserError(f"held-out: no database of {databases} has enough tools ({why or 'there is none'})")
        return tuple(replace(each, domain=replace(each.domain, excluded_goals=seen)) for each in found)

    async def _unseen(self) -> list[Toolset]:
        if self.path.is_file():
            return list(read_jsonl(self.path, Toolset))
        seeds = self.databases.load()
        if without := [seed.name for seed in seeds if seed.database is None]:
            raise UserError(f"held-out: tools are executed on databases, but there is none of {', '.join(without)}")
        making = ToolmakingSettings(max_tools=self.settings.max_tools, attempts=_ATTEMPTS, questions=0, expansion=0)
        try:
            made = [await make_tools(seed, Meter(self.simulator), making) for seed in seeds]
        except LLMError as error:
            raise UserError(f"held-out: who makes the tools does not answer: {error}") from None
        write_jsonl(self.path, made)
        return made


def _refuse_trained(unseen: Sequence[Toolset], trained: Sequence[Toolset]) -> None:
    """Raises UserError for a database that a model was trained on."""
    known = {each.database_sha256: each.domain for each in trained if each.database_sha256}
    for toolset in unseen:
        if toolset.database_sha256 in known:
            raise UserError(
                f"held-out: the database {toolset.domain} was trained on, as {known[toolset.database_sha256]}; "
                "benchmarks.heldout.databases must name others"
            )


def _goals(generation: Path) -> Iterator[str]:
    """The goals of a generation run's dialogues."""
    for file in sorted(generation.glob("*/dialogues.jsonl")):
        for dialogue in read_jsonl(file, Dialogue):
            yield from (task.goal for task in dialogue.tasks)
