"""What BFCL and τ²-bench test with, read from the files that the evaluation reads: tools, entities and texts.

BFCL's package lives in an environment of its own and is never imported; its data are JSON lines. τ²'s texts and databases are files
too; for its tools the package is imported, which comes with the extra `eval`.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from core.messages import Frozen
from core.settings import UserError
from generation.seeds.tau2_data import DOMAINS, reserved

BenchmarkName = Literal["bfcl", "tau2"]

TAU2_DOMAINS = ("airline", "retail", "telecom")
"""Those that evaluation scores."""


class BenchmarkText(Frozen):
    """A text or an entity of a benchmark and the task or file it stands in."""

    text: str
    of: str


class BenchmarkTool(Frozen):
    """A benchmark's tool: its name, the names of its parameters, and where it stands."""

    name: str
    parameters: frozenset[str]
    of: str


class Benchmark(Frozen):
    """`name` is also the source of seeds made from the benchmark. `entities` are who and what its tasks are about, by the ids and
    addresses that stand for nobody else; `texts` what a tested model or the user's side is told."""

    name: str
    version: str
    tools: tuple[BenchmarkTool, ...]
    entities: tuple[BenchmarkText, ...]
    texts: tuple[BenchmarkText, ...]


def read_benchmarks(names: tuple[BenchmarkName, ...], bfcl_environment: Path) -> tuple[Benchmark, ...]:
    """Raises UserError where one of them is not installed."""
    readers: dict[BenchmarkName, Callable[[], Benchmark]] = {
        "bfcl": lambda: read_bfcl(bfcl_environment),
        "tau2": read_tau2,
    }
    return tuple(readers[name]() for name in dict.fromkeys(names))


def read_bfcl(environment: Path) -> Benchmark:
    """BFCL v4 as bfcl-eval, installed in the virtual environment `environment`, carries it. Its entities are everyday names and
    files, which tell nothing, so none are taken."""
    folder = next(environment.glob("lib/python3*/site-packages/bfcl_eval/data"), None)
    if folder is None:
        raise UserError(
            f"benchmarks holds bfcl, and bfcl={environment} was given, but it has no lib/python3*/site-packages/bfcl_eval/data; "
            "`make setup` builds that environment, and benchmarks=[tau2] does without"
        )
    entries = [
        (path.stem, entry)
        for path in sorted([*folder.glob("BFCL_v4_*.json"), *folder.glob("memory_prereq_conversation/*.json")])
        if path.stem != "BFCL_v4_format_sensitivity"  # ids of other files' entries
        for entry in _lines(path)
    ]
    documents = [
        (path.stem, tool) for path in sorted(folder.glob("multi_turn_func_doc/*.json")) for tool in _lines(path)
    ]
    functions = [(entry["id"], tool) for _, entry in entries for tool in entry.get("function", ())]
    installed = next(folder.parents[1].glob("bfcl_eval-*.dist-info"), None)
    return Benchmark(
        name="bfcl",
        version=installed.name.removesuffix(".dist-info").replace("_", "-") if installed else "bfcl-eval",
        tools=tuple(_tool(tool, of) for of, tool in [*documents, *functions]),
        entities=(),
        texts=tuple(
            BenchmarkText(text=message["content"], of=entry["id"])
            for _, entry in entries
            for turn in entry["question"]
            for message in turn
            if message["role"] == "user"
        ),
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def _tool(function: dict[str, Any], of: str) -> BenchmarkTool:
    return BenchmarkTool(
        name=function["name"], parameters=frozenset(function["parameters"].get("properties", {})), of=of
    )


def read_tau2() -> Benchmark:
    """τ²-bench's scored domains as inspect-evals carries them. Entities are the customers that tasks name, their e-mail addresses
    and everything that is theirs; in telecom the telephone numbers, for its ids (C1001) are anybody's."""
    package = find_spec("inspect_evals")
    if package is None or package.origin is None:
        raise UserError(
            "benchmarks holds tau2, but inspect-evals is not installed; pip install -e '.[eval]' brings it, and benchmarks=[bfcl] "
            "does without"
        )
    folder = Path(package.origin).parent / "tau2/data/domains"
    tasks = {domain: _json(folder / domain, "tasks.json") for domain in TAU2_DOMAINS}
    return Benchmark(
        name="tau2",
        version=f"inspect-evals-{version('inspect-evals')}",
        tools=tuple(tool for domain in TAU2_DOMAINS for tool in _tau2_tools(domain)),
        entities=tuple(
            BenchmarkText(text=text, of=f"{domain} {kind}")
            for domain in TAU2_DOMAINS
            for kind, text in _entities(folder / domain, domain, tasks[domain])
        ),
        texts=tuple(
            BenchmarkText(text=text, of=f"{domain} {task['id']}")
            for domain in TAU2_DOMAINS
            for task in tasks[domain]
            for text in dict.fromkeys(_strings([task["user_scenario"], task["description"]]))
        ),
    )


def _tau2_tools(domain: str) -> Iterator[BenchmarkTool]:
    """Of the agent and, in telecom, of the user."""
    define = import_module("inspect_ai.tool").ToolDef
    modules = ["tools", "user_tools"] if domain == "telecom" else ["tools"]
    for module in modules:
        for name, made in sorted(vars(import_module(f"inspect_evals.tau2.{domain}.{module}")).items()):
            if re.fullmatch(r"all_\w*tools", name) and isinstance(made, list):
                tools = [define(make()) for make in made]
                yield from (
                    BenchmarkTool(name=t.name, parameters=frozenset(t.parameters.properties), of=domain) for t in tools
                )


def _entities(folder: Path, domain: str, tasks: Any) -> Iterator[tuple[str, str]]:
    """(kind, name) of whom and what the tasks of a domain are about."""
    text = " | ".join(_strings(tasks))  # a first name and the last name of the next string are no full name
    if domain not in DOMAINS:
        yield from (("telephone", number) for number in sorted(set(re.findall(r"\b\d{3}-\d{3}-\d{4}\b", text))))
        return
    records, data = DOMAINS[domain].records, _json(folder, "db.json")
    customers = reserved(data, records, text)
    for customer in sorted(customers):
        yield "user", customer
        yield "e-mail", data["users"][customer]["email"]
    for key, record in data[records].items():
        if record["user_id"] in customers:
            yield records.removesuffix("s"), key


def _json(folder: Path, name: str) -> Any:
    packed = folder / f"{name}.gz"
    return json.loads(gzip.decompress(packed.read_bytes()) if packed.is_file() else (folder / name).read_bytes())


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _strings(item)
