"""make convert: conf/convert.yaml -> outputs/convert/<run id>/dialogues.jsonl, for make train data=…."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from core.console import stage_console
from core.files import writing
from core.runs import open_run, sha256
from core.settings import UserError, typed
from generation.convert.base import Conversion, ConvertSettings
from scripts.launch import hydra_main, instantiate


def main(config: DictConfig) -> None:
    settings = typed(config, ConvertSettings)
    console = stage_console()
    conversion = Conversion(instantiate(settings.source))
    local = Path(conversion.source.path)
    inputs = {local.name: sha256(local)} if local.exists() else {}
    with open_run(settings.outputs, "convert", settings.model_dump(mode="json"), inputs) as job:
        with writing(job.directory / "dialogues.jsonl") as file:
            lines = conversion.lines(settings.limit)
            file.writelines(track(lines, f"converting {conversion.source.name}", console=console))
        summarise(console, conversion, job.directory)
        if not conversion.kept:
            raise UserError(f"none of the {conversion.read} rows of {conversion.source.path} can be trained on")
        job.finish(conversion.metrics())


def summarise(console: Console, conversion: Conversion, directory: Path) -> None:
    """Print how many rows were kept, repaired and refused, with the first example of each fault."""
    table = Table("rows", "outcome", "example", title=f"{conversion.read} rows of {conversion.source.path}")
    table.add_row(f"{conversion.kept}", "kept", "")
    for kind, count in conversion.repaired.most_common():
        table.add_row(f"{count}", f"repaired: {kind}", "")
    for kind, count in conversion.refused.most_common():
        table.add_row(f"{count}", f"refused: {kind}", escape(conversion.examples[kind]))
    console.print(table)
    name = conversion.source.name
    console.print(f"make train data={directory} mixture={name}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    hydra_main("convert", main)
