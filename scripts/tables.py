"""make tables: Tables 1 to 4 and Figure 5 -> the console, and outputs/tables/ as Markdown, JSON, PNG and PDF."""

from __future__ import annotations

from omegaconf import DictConfig

from core.console import stage_console
from core.runs import newest_run
from core.settings import typed
from evaluation.reports.tables import TablesSettings, publish_tables
from scripts.launch import hydra_main


def main(config: DictConfig) -> None:
    settings = typed(config, TablesSettings)
    generation = settings.generation or newest_run(settings.outputs, "generate")
    evaluations = settings.evaluation
    if evaluations is None:
        newest = newest_run(settings.outputs, "evaluate")
        evaluations = (newest,) if newest else ()
    publish_tables(stage_console(), settings.outputs, generation, evaluations)


if __name__ == "__main__":
    hydra_main("tables", main)
