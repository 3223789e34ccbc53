"""Tools, entities and texts of the benchmarks BFCL and τ²-bench, read from the same files as the evaluation.

BFCL's package is installed in a separate environment and never imported; its data are JSON lines. τ²'s texts and
databases are files too; for its tools the package is imported (extra `eval`).
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
"""The domains that evaluation scores."""


class BenchmarkText(Frozen):
    """A text or entity of a benchmark, and the task or file `of` which it is part."""

    text: str
    of: str


class BenchmarkTool(Frozen):
    """A benchmark's tool: its name, its parameters' names, and the task or file `of` which it is part."""

    name: str
    parameters: frozenset[str]
    of: str


class BenchmarkData(Frozen):
    """`name` is also the source of seeds derived from the benchmark. `entities` are the unique ids and addresses of the
    people and records in its tasks; `texts` are the instructions to the tested model or the simulated user, `policies`
    the rules that the tested model reads."""

    name: str
    version: str
    tools: tuple[BenchmarkTool, ...]
    entities: tuple[BenchmarkText, ...]
    texts: tuple[BenchmarkText, ...]
    policies: tuple[BenchmarkText, ...] = ()


def read_benchmarks(names: tuple[BenchmarkName, ...], bfcl_environment: Path) -> tuple[BenchmarkData, ...]:
    """Read the benchmarks. Raises UserError if one of them is not installed."""
    readers: dict[BenchmarkName, Callable[[], BenchmarkData]] = {
        "bfcl": lambda: read_bfcl(bfcl_environment),
        "tau2": read_tau2,
    }
    return tuple(readers[name]() for name in dict.fromkeys(names))


def read_bfcl(environment: Path) -> BenchmarkData:
    """BFCL v4 as shipped in bfcl-eval, installed in the virtual environment `environment`. No entities: BFCL's are
    everyday names and files, which are not evidence of contamination."""
    folder = next(environment.glob("lib/python3*/site-packages/bfcl_eval/data"), None)
    if folder is None:
        raise UserError(
            f"benchmarks contains bfcl, but bfcl={environment} was given, which has no "
            "lib/python3*/site-packages/bfcl_eval/data; build that environment with `make setup`, "
            "or omit bfcl with benchmarks=[tau2]"
        )
    entries = [
        (path.stem, entry)
        for path in sorted([*folder.glob("BFCL_v4_*.json"), *folder.glob("memory_prereq_conversation/*.json")])
        if path.stem != "BFCL_v4_format_sensitivity"  # only ids of other files' entries
        for entry in _lines(path)
    ]
    documents = [
        (path.stem, tool) for path in sorted(folder.glob("multi_turn_func_doc/*.json")) for tool in _lines(path)
    ]
    functions = [(entry["id"], tool) for _, entry in entries for tool in entry.get("function", ())]
    installed = next(folder.parents[1].glob("bfcl_eval-*.dist-info"), None)
    return BenchmarkData(
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


def read_tau2() -> BenchmarkData:
    """τ²-bench's scored domains as shipped in inspect-evals. Entities are the customers that tasks name, their e-mail
    addresses and all their records; in telecom, telephone numbers, since its ids (C1001) are not distinctive."""
    package = find_spec("inspect_evals")
    if package is None or package.origin is None:
        raise UserError(
            "benchmarks contains tau2, but inspect-evals is not installed; install it with pip install -e '.[eval]', "
            "or omit tau2 with benchmarks=[bfcl]"
        )
    folder = Path(package.origin).parent / "tau2/data/domains"
    tasks = {domain: _json(folder / domain, "tasks.json") for domain in TAU2_DOMAINS}
    return BenchmarkData(
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
        policies=tuple(
            BenchmarkText(text=path.read_text(encoding="utf-8"), of=f"{domain} policy")
            for domain in TAU2_DOMAINS
            for path in sorted((folder / domain).glob("*policy.txt"))
        ),
    )


def _tau2_tools(domain: str) -> Iterator[BenchmarkTool]:
    """The agent's tools and, in telecom, also the user's."""
    define = import_module("inspect_ai.tool").ToolDef
    modules = ["tools", "user_tools"] if domain == "telecom" else ["tools"]
    for module in modules:
        for name, value in sorted(vars(import_module(f"inspect_evals.tau2.{domain}.{module}")).items()):
            if re.fullmatch(r"all_\w*tools", name) and isinstance(value, list):
                tools = [define(factory()) for factory in value]
                yield from (
                    BenchmarkTool(name=tool.name, parameters=frozenset(tool.parameters.properties), of=domain)
                    for tool in tools
                )


def _entities(folder: Path, domain: str, tasks: Any) -> Iterator[tuple[str, str]]:
    """(kind, name) of the customers and records that a domain's tasks are about."""
    text = " | ".join(_strings(tasks))  # so that names in adjacent strings do not form a full name
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
