"""make mutants [sample=10] [seed=0] [only=[core/messages.py]]: do the tests notice when one operator or number changes?

Each mutant changes one place of a module in [tool.mutants] of pyproject.toml, in a copy of the working tree, and runs
the tests that are listed there for the module; a mutant that they do not notice has survived. Error messages and other
texts are not changed.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import difflib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field
from rich.console import Console
from rich.table import Table

from core.console import stage_console
from core.journal import Journal, read_jsonl
from core.messages import Frozen
from core.settings import Settings, UserError, closest
from scripts.launch import clear_errors, read_settings

ROOT = Path(__file__).parent.parent
FOLDER = Path("outputs/mutants")
TARGET = 0.95
BASELINE_S = 900.0
"""How long a module's tests may take without any change."""
LAST_LINES = 40
"""How much of the output of failing tests is shown."""

PACKAGES = ("core", "generation", "training", "evaluation", "scripts", "tests")
PRELOADED = (
    "pytest",
    "hypothesis",
    "pydantic",
    "jsonschema",
    "numpy",
    "apsw",
    "sqlglot",
    "sqlalchemy",
    "aiohttp",
    "torch",
)
"""Imported once, before the processes that run tests are forked."""

_SWAPS: dict[type[ast.AST], Any] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
}
_UNCHANGED = (ast.JoinedStr, ast.Raise, ast.Assert, ast.arg, ast.Import, ast.ImportFrom)
"""Texts, error messages and invariants."""


class MutantSettings(Settings):
    sample: int = Field(default=10, ge=1, description="mutants of each module")
    seed: int = Field(default=0, ge=0, description="seed of the sample")
    only: tuple[str, ...] = Field(default=(), description="modules, as pyproject.toml names them; empty: all")


@dataclass(frozen=True)
class Mutant:
    """A module with one change at `line`."""

    module: str
    line: int
    source: str
    mutated: str

    @property
    def diff(self) -> str:
        pair = (self.source.splitlines(), self.mutated.splitlines())
        return "\n".join([*difflib.unified_diff(*pair, n=0, lineterm="")][3:])

    @property
    def key(self) -> str:
        return f"{self.module}:{self.line}:{sha256(self.mutated.encode()).hexdigest()[:16]}"


class Killed(Frozen):
    """One line of the journal: a mutant that the tests noticed, which need not be run again."""

    key: str


def mutants(module: str, source: str) -> list[Mutant]:
    """All mutants of a module, in the order of their lines."""
    data = source.encode()
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, change in _changes(ast.parse(source)):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        first = starts[node.lineno - 1] + node.col_offset
        last = starts[node.end_lineno - 1] + node.end_col_offset
        mutated = data[:first] + change.encode() + data[last:]
        found.append(Mutant(module, node.lineno, source, mutated.decode()))
    return sorted(found, key=lambda mutant: (mutant.line, mutant.mutated))


def _changes(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Each expression or statement below `node` that can be changed, with its new text."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, _UNCHANGED) and not _is_strict(child):
                yield from _changes_of(child)
                yield from _changes(child)


def _is_strict(node: ast.AST) -> bool:
    """Whether this is the argument with which `zip` asserts that its inputs are equally long."""
    return isinstance(node, ast.keyword) and node.arg == "strict"


def _changes_of(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                changed = copy.deepcopy(node)
                changed.ops[index] = _SWAPS[type(operator)]()
                yield node, f"({ast.unparse(changed)})"
        case ast.BoolOp() | ast.BinOp() if type(node.op) in _SWAPS:
            changed_operation = copy.deepcopy(node)
            changed_operation.op = _SWAPS[type(node.op)]()
            yield node, f"({ast.unparse(changed_operation)})"
        case ast.UnaryOp(op=ast.Not()):
            yield node, f"({ast.unparse(node.operand)})"
        case ast.Constant(value=bool()):
            yield node, str(not node.value)
        case ast.Constant(value=int() | float() as number):
            yield node, f"{number + 1!r}"
        case ast.Expr(value=ast.Call()):
            yield node, "pass"
        case ast.Continue():
            yield node, "break"
        case ast.Break():
            yield node, "continue"


def copy_tree(tree: Path) -> None:
    """A fresh copy of the working tree, without what git ignores; it shares the environments."""
    shutil.rmtree(tree, ignore_errors=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    for name in (".venv", ".venv-bfcl"):
        (tree / name).symlink_to((ROOT / name).resolve())


def _run_tests(tree: str, tests: Sequence[str], log: str) -> None:
    """In a process of its own: run tests on the copy, their output to `log`, and exit with pytest's code."""
    os.setsid()
    os.chdir(tree)
    os.environ |= {"PYTHONPATH": tree, "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]
    sys.path[:] = [tree, *(path for path in sys.path if path and Path(path).resolve() != ROOT)]
    with Path(log).open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    options = [
        "-q",
        "-x",
        "-n",
        "0",
        "--tb=short",
        "--color=no",
        "--disable-warnings",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow and not gpu",
    ]
    code = int(pytest.main([*options, *tests]))
    sys.stdout.flush()
    os._exit(code)


def run_tests(tree: Path, tests: Sequence[str], timeout_s: float) -> str | None:
    """Run tests on the copy `tree` until one fails. Returns None if all pass, otherwise what pytest printed last, also
    if they took longer than `timeout_s`. All of it is in the copy's tests.log."""
    log = tree.resolve() / "tests.log"
    process = get_context("forkserver").Process(target=_run_tests, args=(str(log.parent), tuple(tests), str(log)))
    process.start()
    assert process.pid, "it was started"
    process.join(timeout_s)
    in_time = not process.is_alive()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # also what the tests started
    process.join()
    if process.exitcode == 0:
        return None
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    why = f"pytest ended with {process.exitcode}" if in_time else f"stopped after {timeout_s:.0f} s"
    return "\n".join([*lines[-LAST_LINES:], why])


def try_module(
    module: str, tests: Sequence[str], settings: MutantSettings, journal: Journal, out: Console
) -> tuple[int, list[Mutant]]:
    """Try a sample of a module's mutants. Returns how many, and those that survived."""
    tree = FOLDER / "tree"
    # From the copy: the working tree may have changed since, and then the mutant would not fit the other modules.
    source = (tree / module).read_text(encoding="utf-8")
    possible = mutants(module, source)
    # A larger sample contains the smaller one, so that nothing is tried twice.
    chosen = random.Random(f"{settings.seed}/{module}").sample(possible, len(possible))[: settings.sample]
    known = {record.key for record in read_jsonl(journal.path, Killed)}
    started = time.monotonic()
    if not all(mutant.key in known for mutant in chosen) and (failure := run_tests(tree, tests, BASELINE_S)):
        out.print(f"[red]{module}: its tests fail without any change; no mutant was tried[/]")
        out.print(failure, markup=False, highlight=False)
        return 0, []
    timeout_s = 20 + 4 * (time.monotonic() - started)
    survived = []
    for mutant in chosen:
        if mutant.key in known:
            continue
        (tree / module).write_text(mutant.mutated, encoding="utf-8")
        if run_tests(tree, tests, timeout_s) is None:
            survived.append(mutant)
            out.print(f"[yellow]survived: {module}:{mutant.line}[/]")
            out.print(mutant.diff, markup=False, highlight=False)
        else:
            journal.append(Killed(key=mutant.key), mutant.key)
    (tree / module).write_text(source, encoding="utf-8")
    out.print(f"{module}: {len(chosen) - len(survived)} of {len(chosen)} mutants killed, of {len(possible)} possible")
    return len(chosen), survived


def main(settings: MutantSettings, out: Console) -> bool:
    """Whether the tests kill at least TARGET of the sample."""
    listed: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutants"]
    for name in settings.only:
        if name not in listed:
            raise UserError(f"only={name} was given; {closest(name, list(listed))}")
    get_context("forkserver").set_forkserver_preload(list(PRELOADED))
    copy_tree(FOLDER / "tree")
    results: dict[str, tuple[int, list[Mutant]]] = {}
    with Journal(FOLDER / "killed.jsonl", key=lambda record: str(record["key"])) as journal:
        for module, tests in listed.items():
            if not settings.only or module in settings.only:
                results[module] = try_module(module, tests, settings, journal, out)
    table = Table("module", "mutants", "killed", "survived at")
    for module, (tried, survived) in results.items():
        lines = ", ".join(str(mutant.line) for mutant in survived)
        table.add_row(module, str(tried), str(tried - len(survived)), lines)
    out.print(table)
    tried, lost = sum(n for n, _ in results.values()), sum(len(survived) for _, survived in results.values())
    score = (tried - lost) / max(tried, 1)
    out.print(f"{tried - lost} of {tried} mutants killed: {score:.3f}; target {TARGET}")
    return score >= TARGET and all(n for n, _ in results.values())


if __name__ == "__main__":
    with clear_errors():
        raise SystemExit(0 if main(read_settings(sys.argv[1:], MutantSettings), stage_console()) else 1)
