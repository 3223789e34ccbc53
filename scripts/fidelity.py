"""make fidelity: compares generated users with people (reference=…) -> outputs/fidelity/<run id>/."""

from __future__ import annotations

from omegaconf import DictConfig
from rich.console import Console

from core.console import stage_console
from core.files import write_atomically, write_json
from core.runs import latest, open_run, sha256
from core.settings import typed
from generation.metrics.fidelity import compare
from generation.metrics.fidelity_data import FidelitySettings, UserMessages, generated_users, reference_users
from generation.metrics.fidelity_report import draw_fidelity, fidelity_markdown, fidelity_table, notes
from generation.start_states.conversation_files import conversation_files
from scripts.launch import hydra_main
from training.mixture import find_data

NEUTRAL = ("outputs", "data", "reference", "profile")
"""Keys that do not change the result, or whose content counts instead."""


def main(config: DictConfig) -> None:
    settings = typed(config, FidelitySettings)
    console, confidence = stage_console(), settings.resampling.confidence
    files = find_data((settings.data or latest(settings.outputs, "generate", "make generate")).resolve())
    inputs = {f"{file.parent.name}/{file.name}": sha256(file) for file in files}
    inputs |= {f"reference/{file.name}": sha256(file) for file in conversation_files(settings.reference)}
    plain = settings.model_dump(mode="json")
    with open_run(settings.outputs, "fidelity", plain, inputs, neutral=NEUTRAL) as job:
        seed = settings.resampling.seed
        sets = (
            generated_users(files, settings.dialogues, seed),
            reference_users(settings.reference, settings.dialogues, seed),
        )
        tallies = [users.measured() for users in sets]
        fidelity = compare(tallies[0], tallies[1], settings.resampling)
        console.print(fidelity_table(fidelity))
        for note in notes(fidelity, confidence):
            console.print(note, style="dim", soft_wrap=True, highlight=False)
        for users in sets:
            _show_unread(console, users)
        write_json(job.directory / "fidelity.json", fidelity.model_dump(mode="json"))
        write_atomically(job.directory / "fidelity.md", fidelity_markdown(fidelity, confidence))
        draw_fidelity(tallies, fidelity, job.directory / "fidelity")
        job.finish(fidelity.model_dump(mode="json"))
    console.print(f"written to {job.directory}", soft_wrap=True)


def _show_unread(console: Console, users: UserMessages) -> None:
    for kind, count in users.unread.most_common():
        line = f"left out {count}: {kind} ({users.examples[kind]})"
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    hydra_main("fidelity", main)
