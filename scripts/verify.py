"""make verify [run=outputs/generate/<run id>]: every accepted, executed dialogue replays to its recorded results and state."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from hydra.utils import instantiate
from rich.progress import track

from core.console import stage_console
from core.dialogue import Dialogue
from core.journal import read_jsonl
from core.runs import latest, read_manifest
from core.settings import UserError
from generation.environments.base import EnvironmentFactory
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.toolset_runner import from_file
from generation.validation.validate import replay
from scripts.launch import clear_errors


def verify(run: Path) -> int:
    """How many dialogues do not replay. Raises UserError where the run or its databases are not what they were."""
    pipelines = read_manifest(run).config["pipelines"]
    toolsets = {origin.toolset.domain: origin.toolset for origin in from_file(run / "toolsets.jsonl")}
    proved, broken = 0, 0
    console = stage_console()
    for name, pipeline in pipelines.items():
        environments: EnvironmentFactory = instantiate(pipeline["environment"])
        accepted = list(read_jsonl(run / name / "dialogues.jsonl", Dialogue)) if environments.executable else []
        dialogues = [dialogue for dialogue in accepted if dialogue.task_starts]  # of tasks alone nothing was executed
        for dialogue in track(dialogues, f"replaying {name}", console=console, disable=not dialogues):
            domain_environment = environments.for_domain(
                toolsets[dialogue.domain], Meter(ScriptedLLM()), dialogue.dialogue_id
            )
            again = asyncio.run(replay(dialogue, domain_environment))
            holds = again.faithful and again.proof == dialogue.state
            proved += holds
            broken += not holds
            if not holds:
                text = f"{dialogue.dialogue_id}: recorded {dialogue.state}, replayed {again.proof}"
                console.print(text, style="red", markup=False)
        environments.close()
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
