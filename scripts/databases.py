"""make databases: a model writes databases, code checks and fills them -> outputs/databases/<run id>/."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.progress import TextColumn
from rich.table import Table

from core.console import Bars, stage_console
from core.runs import Run, open_run
from core.settings import UserError, typed
from generation.build import build_llm, model_nodes
from generation.llm.base import LLM
from generation.llm.openai import TRANSPORT_KEYS
from generation.synthesis.known_schemas import known_schemas, schemas_hash
from generation.synthesis.likeness import SchemaNames
from generation.synthesis.run import DatabasesSettings, Finished, ideas, make_databases
from generation.synthesis.writer import Candidate
from scripts.launch import hydra_main, instantiate

_NEUTRAL = ("outputs", "concurrency", "sentences", "bfcl", "spider")
"""Keys that do not change what is made, or whose content counts instead."""
_SHOWN_REASONS = 2


def main(config: DictConfig) -> None:
    """Exit with code 1 if a database failed because of an internal error."""
    settings = typed(config, DatabasesSettings)
    console = stage_console()
    known = known_schemas(settings.bfcl, settings.spider)
    databases = {f"idea {idea.number}": idea.sentence or idea.domain for idea in ideas(settings)}
    inputs = databases | {"known schemas": schemas_hash(known)}
    neutral = (*_NEUTRAL, *(f"{node}.{key}" for node in model_nodes("llm", settings.llm) for key in TRANSPORT_KEYS))
    with open_run(settings.outputs, "databases", settings.model_dump(mode="json"), inputs, neutral=neutral) as run:
        console.print(f"{'resuming' if run.resumed else 'writing into'} {run.directory}", soft_wrap=True)
        finished = asyncio.run(_make(settings, known, run, console, len(databases)))
        summarise(console, finished, run)
        if not finished.accepted:
            raise UserError(
                f"none of the {len(finished.rejected)} databases was accepted; {run.directory}/rejected.jsonl says why"
            )
        run.finish(finished.results())
    if any(candidate.kind == "internal" for candidate in finished.rejected):
        raise SystemExit(1)


async def _make(
    settings: DatabasesSettings, known: Sequence[SchemaNames], run: Run, console: Console, count: int
) -> Finished:
    llm: LLM = build_llm(settings.llm, {}, instantiate)
    try:
        with DatabasesProgress(console, count) as progress:
            return await make_databases(settings, known, llm, run.directory, progress.on_candidate)
    finally:
        await llm.close()


class DatabasesProgress(Bars):
    """One bar, with what was accepted and rejected so far."""

    def __init__(self, console: Console, count: int) -> None:
        super().__init__(console, TextColumn("{task.fields[counts]}"))
        self._counts: Counter[str] = Counter()
        self._task = self._progress.add_task("databases", total=count, counts="")

    def on_candidate(self, candidate: Candidate) -> None:
        self._counts[candidate.status] += 1
        counts = ", ".join(f"{count} {status}" for status, count in sorted(self._counts.items()))
        self._progress.update(self._task, advance=1, counts=counts)


def summarise(console: Console, finished: Finished, run: Run) -> None:
    """Print what was accepted and rejected, and how to go on."""
    results = finished.results()
    table = Table("", "databases", "details", title=f"databases of {results['started']} ideas")
    cost = ", ".join(f"{name.replace('_', ' ')} {count or 0:,}" for name, count in finished.cost.items())
    table.add_row("accepted", f"{results['accepted']}", f"{results['tables']} tables, {results['rows']:,} rows; {cost}")
    for part, count in results["databases"].items():
        table.add_row(
            f"  {part}", f"{count}", f"{results['domains'][part]} domains, {results['split_sha256'][part][:16]}…"
        )
    for kind, count in results["rejected"].items():
        reasons = [candidate.reason for candidate in finished.rejected if candidate.kind == kind]
        table.add_row(f"rejected: {kind}", f"{count}", escape("\n".join(r[:160] for r in reasons[:_SHOWN_REASONS])))
    console.print(table)
    console.print(f"compared with {len(finished.compared)} known schemas: bundled, and of benchmarks that are at hand")
    if results["databases"]["train"]:
        console.print(f"make generate domains=synthesised domains.run={run.directory}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    hydra_main("databases", main)
