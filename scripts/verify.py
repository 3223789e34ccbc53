"""make verify [run=outputs/generate/<run id>]: every accepted, executed dialogue replays to its recorded results and state."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from rich.progress import track

from core.console import stage_console
from core.dialogue import Dialogue
from core.records import read_jsonl
from core.runs import latest, read_manifest, sha256
from core.settings import UserError
from generation.environments.sql import SqlWorld
from generation.toolset import Toolset
from generation.validation import replay
from scripts.launch import clear_errors


def verify(run: Path) -> int:
    """How many dialogues do not replay. Raises UserError where the run or its databases are not what they were."""
    pipelines = read_manifest(run).config["pipelines"]
    toolsets = {toolset.domain: toolset for toolset in read_jsonl(run / "toolsets.jsonl", Toolset)}
    for toolset in toolsets.values():
        if toolset.database is None:
            continue
        if not toolset.database.is_file() or sha256(toolset.database) != toolset.database_sha256:
            raise UserError(f"{toolset.database} is not the database on which {run} was made (SHA-256 differs)")
    proved, broken = 0, 0
    console = stage_console()
    for name, pipeline in pipelines.items():
        dialogues = list(read_jsonl(run / name / "dialogues.jsonl", Dialogue))
        if not any(dialogue.state for dialogue in dialogues):
            continue
        environment = {key: value for key, value in pipeline["environment"].items() if key != "_target_"}
        worlds = {
            domain: SqlWorld(domain, toolset.database, toolset.sql_tools, **environment)
            for domain, toolset in toolsets.items()
            if toolset.tools
        }
        for dialogue in track(dialogues, f"replaying {name}", console=console):
            proof = asyncio.run(replay(dialogue, worlds[dialogue.domain]))
            proved += proof == dialogue.state
            if proof != dialogue.state:
                broken += 1
                console.print(f"{dialogue.dialogue_id}: recorded {dialogue.state}, replayed {proof}", style="red")
    if not proved + broken:
        raise UserError(
            f"{run} has no dialogue with an executed environment: make generate pipeline=user_oriented_exec"
        )
    console.print(f"{proved} dialogues replay to their recorded state, {broken} do not ({run})", soft_wrap=True)
    return broken


if __name__ == "__main__":
    with clear_errors():
        given = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
        if unknown := set(given) - {"run"}:
            raise UserError(f"unknown key {sorted(unknown)}; expected run=DIRECTORY")
        chosen = Path(given["run"]) if "run" in given else latest(Path("outputs"), "generate", "make generate")
        raise SystemExit(1 if verify(chosen) else 0)
