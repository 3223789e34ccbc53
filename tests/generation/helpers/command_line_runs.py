"""Runs `make generate` as a user does: each stage alone, from each start state, in each pipeline."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.generation.test_stages import FOREIGN

PAPERS = ("task_oriented", "user_oriented", "user_oriented_exec")
TAU2 = ("user_oriented_tau2",)
ONE = ("user_oriented",)

ROOMS = [
    {"name": name, "description": text, "parameters": {"type": "object", "properties": {key: {"type": kind}}}}
    for name, text, key, kind in (
        ("find_rooms", "Find rooms in a city.", "city", "string"),
        ("book_room", "Book a room.", "room_id", "integer"),
        ("cancel_booking", "Cancel a booking.", "booking_id", "integer"),
    )
]


@dataclass(frozen=True)
class Case:
    """Overrides, whose {names} `prepare_inputs` fills in, and the expected outcome: `started` dialogues in each of
    `pipelines`, 0 if the run only makes tools."""

    words: str
    started: int = 0
    pipelines: tuple[str, ...] = PAPERS


CASES = {
    "tools": Case("{library} stage=[tools]"),
    "own tools": Case("{rooms} stage=[tools,schemas]"),
    "schemas": Case("toolsets={bare}/toolsets.jsonl stage=[schemas]"),
    "tasks": Case("{library} {toolsets} stage=[tasks] n=2", 2),
    "rollout": Case("stage=[rollout] start.file={posed}/user_oriented_exec/dialogues.jsonl n=3", 3),
    "validation": Case("stage=[validation] start.file={whole}/user_oriented_exec/dialogues.jsonl n=3", 3),
    "from nothing": Case("{library} n=2", 2),
    "from toolsets": Case("{library} {toolsets} n=2", 2),
    "from tasks": Case("start.file={posed}/user_oriented/dialogues.jsonl n=2", 2),
    "extended": Case("start.file={whole}/user_oriented_exec/dialogues.jsonl n=2", 2),
    "forked": Case("start.file={whole}/user_oriented_exec/dialogues.jsonl start.at=random start.branches=2 n=4", 4),
    "foreign": Case("{foreign} pipeline=user_oriented n=2", 2, ONE),
    "foreign with tools": Case("{foreign} {toolsets} start.inject=true n=2", 2),
    "from own tools": Case("{rooms} stage=[tools,tasks,rollout,validation] pipeline=user_oriented n=2", 2, ONE),
    "tau2": Case("{tau2} n=2", 2, TAU2),
    "tau2 extended": Case("{tau2} start.file={airline} n=2", 2, TAU2),
    "tau2 forked": Case("{tau2} start.file={airline} start.at=3 n=2", 2, TAU2),
}


@dataclass(frozen=True)
class FinishedCommand:
    """A finished command: its exit code, console output and run directory."""

    code: int
    output: str
    directory: Path


def run_all(folder: Path, runs: Mapping[str, str]) -> dict[str, FinishedCommand]:
    """Run each of the overrides, three at a time."""
    with ThreadPoolExecutor(3) as pool:
        waiting = {name: pool.submit(_generate, folder / name, words) for name, words in runs.items()}
        return {name: run.result() for name, run in waiting.items()}


def _generate(outputs: Path, words: str) -> FinishedCommand:
    few = ("max_tools=9", "policy_rules=2")  # random weights answer slowly
    line = [
        sys.executable,
        "-m",
        "scripts.generate",
        "profile=tiny",
        f"outputs={outputs}",
        "tracking.mode=disabled",
        *few,
        *words.split(),
    ]
    ended = subprocess.run(line, capture_output=True, text=True, check=False, timeout=240)
    output = ended.stdout + ended.stderr
    directories = list(outputs.glob("generate/2*"))
    assert len(directories) == 1, output
    return FinishedCommand(ended.returncode, output, *directories)


def prepare_inputs(folder: Path) -> dict[str, str]:
    """The values of the names in CASES: runs of the scripted model and imported files, created in `folder`."""
    names = {
        "library": f"domains.names=[library] domains.cache={folder}/seeds",
        "tau2": "domains=tau2 domains.names=[airline] pipeline=user_oriented_tau2",
        "rooms": f"domains=tools domains.paths=[{folder}/rooms.jsonl]",
        "foreign": f"start.file={folder}/foreign.jsonl",
    }
    scripted = {
        "whole": f"{names['library']} n=6",
        "posed": f"{names['library']} n=3 stage=[tools,schemas,tasks]",
        "airline": f"{names['tau2']} n=3",
        "bare": f"{names['rooms']} stage=[tools]",
    }
    lines = {"rooms": ROOMS, "foreign": [FOREIGN | {"id": f"c{number}"} for number in range(2)]}
    for name, objects in lines.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in objects))
    runs = run_all(folder, {name: f"{words} llm.error_rate=0" for name, words in scripted.items()})
    assert [run.code for run in runs.values()] == [0] * len(runs), runs
    return names | {
        "whole": str(runs["whole"].directory),
        "toolsets": f"toolsets={runs['whole'].directory}/toolsets.jsonl",
        "posed": str(runs["posed"].directory),
        "bare": str(runs["bare"].directory),
        "airline": f"{runs['airline'].directory}/user_oriented_tau2/dialogues.jsonl",
    }
