"""make figures [data=[RUN,RUN] names=[ours,nemotron] embedding=DIRECTORY|HUB_ID]: Figures 6 to 8 -> outputs/figures/.

Figure 6 shows the domains of the databases, Figure 7 what the tools of BFCL and of each run in `data` are about, Figure
8 maps these tools by t-SNE of their embeddings. A run is a generation run or what `make convert` made, such as
Nemotron's tools. Figure 5 comes with `make tables`, learning and diversity curves with `make report`.
"""

from __future__ import annotations

import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from huggingface_hub import snapshot_download
from pydantic import BeforeValidator, Field
from rich.console import Console

from core.console import stage_console
from core.dialogue import Dialogue
from core.embeddings import Vectors, embed
from core.figures import save_figure
from core.files import write_json
from core.journal import read_jsonl
from core.runs import latest
from core.settings import Settings, UserError
from evaluation.bfcl.declared_tools import declared_tools
from evaluation.bfcl.worker.memory import PACKAGED_MODEL
from evaluation.reports.data_figures import category_shares, tool_map, word_cloud
from evaluation.reports.tool_categories import CATEGORIES, categorise, shares
from generation.tools.toolset import Toolset
from scripts.launch import clear_errors, read_settings
from training.mixture import find_data

HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | Path) else value


class FiguresSettings(Settings):
    """Settings of make figures."""

    outputs: Path = Field(default=Path("outputs"), description="directory of all runs")
    data: Annotated[tuple[Path, ...], BeforeValidator(_as_list)] = Field(
        default=(), description="generation runs, exports or converted data; empty: the newest generation run"
    )
    names: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(
        default=(), description="what to call them; empty: the names of their folders"
    )
    bfcl: Path = Field(
        default=Path(".venv-bfcl"), description="environment with the official BFCL package, whose tools are shown, too"
    )
    embedding: str | None = Field(
        default=None, description=f"directory or hub id of an embedding model; null: an installed package, or {HUB_ID}"
    )
    least: float = Field(
        default=0.2, description="cosine similarity of a tool to its category below which it belongs to the others"
    )


def main(settings: FiguresSettings, console: Console) -> Path:
    """Draw the figures; returns their folder. Raises UserError for a run without tools and an unknown model."""
    runs = settings.data or (latest(settings.outputs, "generate", "make generate"),)
    names = settings.names or tuple(run.resolve().name for run in runs)
    if len(names) != len(runs):
        raise UserError(f"names={list(names)} was given for {len(runs)} runs; expected one name each")
    folder = settings.outputs / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    domains = domains_of(runs)
    written = save_figure(word_cloud(domains), folder / "figure_6") if domains else []
    tools = {"BFCL": declared_tools(bfcl_data(settings.bfcl))}
    tools |= {name: tools_of(run) for name, run in zip(names, runs, strict=True)}
    tools = {name: of for name, of in tools.items() if of}
    vectors, labels = categorised(tools, embedding_model(settings), settings.least)
    written += save_figure(category_shares(labels), folder / "figure_7")
    written += save_figure(tool_map(vectors, labels), folder / "figure_8")
    write_json(
        folder / "figures.json", {"domains": domains, "categories": {name: shares(of) for name, of in labels.items()}}
    )
    if not domains:
        console.print("Figure 6 was not drawn: no run has a database", style="yellow")
    if "BFCL" not in tools:
        console.print(f"BFCL's tools are missing: there is no official package in {settings.bfcl}", style="yellow")
    for path in written:
        console.print(str(path), soft_wrap=True, highlight=False)
    return folder


def categorised(
    tools: dict[str, dict[str, str]], model: str, least: float
) -> tuple[dict[str, Vectors], dict[str, list[str]]]:
    """The embeddings of each source's tools (source -> tool -> description), and the category of each tool."""
    categories = embed(model, [f"{name}: {description}" for name, description in CATEGORIES.items()])
    vectors = {
        source: embed(model, [f"{name.replace('_', ' ')}: {description}" for name, description in of.items()])
        for source, of in tools.items()
    }
    return vectors, {source: categorise(of, categories, list(CATEGORIES), least) for source, of in vectors.items()}


def embedding_model(settings: FiguresSettings) -> str:
    """The given model, the directory of the installed one, or its id on the hub. Raises UserError if there is none."""
    if settings.embedding:
        return settings.embedding
    spec = find_spec(PACKAGED_MODEL)
    if spec and spec.origin:
        return str(Path(spec.origin).parent / "model")
    try:
        return snapshot_download(HUB_ID)
    except (OSError, ValueError) as error:
        raise UserError(
            f"no embedding model is installed, and {HUB_ID} cannot be had from the hub ({str(error).splitlines()[0]}): "
            "make setup-vector installs one, or give embedding=DIRECTORY"
        ) from None


def bfcl_data(environment: Path) -> Path:
    """The folder with the official data in an environment."""
    found = sorted(environment.glob("lib/python3.*/site-packages/bfcl_eval/data"))
    return found[0] if found else environment / "bfcl_eval/data"


def tools_of(run: Path) -> dict[str, str]:
    """Name -> description of the distinct tools of a run: of its toolsets, or of its dialogues if it has none. Raises
    UserError if it has no tools."""
    toolsets = run / "toolsets.jsonl"
    found = {}
    if toolsets.is_file():
        found = {tool.name: tool.description for toolset in read_jsonl(toolsets, Toolset) for tool in toolset.tools}
    else:
        for file in find_data(run):
            for dialogue in read_jsonl(file, Dialogue):
                found |= {tool.name: tool.description for tool in dialogue.tools}
    if not found:
        raise UserError(f"data={run} was given; expected: a run with tools")
    return found


def domains_of(runs: tuple[Path, ...]) -> dict[str, int]:
    """Title -> accepted dialogues of each domain that has a database."""
    counted: Counter[str] = Counter()
    for run in (run for run in runs if (run / "toolsets.jsonl").is_file()):
        titles = {
            toolset.domain: toolset.called
            for toolset in read_jsonl(run / "toolsets.jsonl", Toolset)
            if toolset.database
        }
        counted.update(dict.fromkeys(titles.values(), 0))
        for file in find_data(run):
            counted.update(titles[d.domain] for d in read_jsonl(file, Dialogue) if d.domain in titles)
    return dict(counted)


if __name__ == "__main__":
    with clear_errors():
        main(read_settings(sys.argv[1:], FiguresSettings), stage_console())
