"""make verify [run=outputs/generate/<run id>]: replay every accepted, executed dialogue against its recorded state."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pydantic import Field
from rich.progress import track

from core.console import stage_console
from core.dialogue import Dialogue
from core.journal import read_jsonl
from core.manifest import read_manifest
from core.runs import latest
from core.settings import Settings, UserError
from generation.environments.base import EnvironmentFactory
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.toolset_runner import sources_from_file
from generation.validation.validate import replay
from scripts.launch import clear_errors, instantiate, read_settings


class VerifySettings(Settings):
    run: Path | None = Field(default=None, description="a generation run; null: the newest finished one")


def verify(run: Path) -> int:
    """Return the number of dialogues that do not replay to their recorded state.

    Raises UserError if the run has no executed dialogue, or if its databases have changed.
    """
    pipelines = read_manifest(run).config["pipelines"]
    toolsets = {source.toolset.domain: source.toolset for source in sources_from_file(run / "toolsets.jsonl")}
    faithful, broken = 0, 0
    console = stage_console()
    for name, pipeline in pipelines.items():
        environments: EnvironmentFactory = instantiate(pipeline["environment"])
        accepted = list(read_jsonl(run / name / "dialogues.jsonl", Dialogue)) if environments.executable else []
        dialogues = [dialogue for dialogue in accepted if dialogue.task_starts]  # tasks alone executed nothing
        for dialogue in track(dialogues, f"replaying {name}", console=console, disable=not dialogues):
            domain_environment = environments.for_domain(
                toolsets[dialogue.domain], Meter(ScriptedLLM()), dialogue.dialogue_id
            )
            replayed = asyncio.run(replay(dialogue, domain_environment))
            if replayed.faithful and replayed.proof == dialogue.state:
                faithful += 1
                continue
            broken += 1
            difference = f"{dialogue.dialogue_id}: recorded {dialogue.state}, replayed {replayed.proof}"
            console.print(difference, style="red", markup=False)
        environments.close()
    if not faithful + broken:
        raise UserError(
            f"{run} has no dialogue with an executed environment: make generate pipeline=user_oriented_exec"
        )
    console.print(f"{faithful} dialogues replay to their recorded state, {broken} do not ({run})", soft_wrap=True)
    return broken


if __name__ == "__main__":
    with clear_errors():
        run = read_settings(sys.argv[1:], VerifySettings).run or latest(Path("outputs"), "generate", "make generate")
        raise SystemExit(1 if verify(run) else 0)
