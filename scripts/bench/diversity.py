"""make bench-diversity data=[RUN,RUN]: how diverse the accepted dialogues of runs are, as functions of their number.

For 100, 200, 500, 1,000 … dialogues, drawn at random: distinct goal skeletons, plan shapes and system prompts, tool
coverage, distinct-n and self-similarity of user messages, and with embedding=DIRECTORY_OR_HUB_ID the spread of goals.
Several runs are drawn next to each other -> outputs/bench/diversity.json, .png and .pdf.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Annotated, Any

from matplotlib.figure import Figure
from pydantic import BeforeValidator, Field
from rich import box
from rich.console import Console
from rich.table import Table

from core.console import stage_console
from core.dialogue import Dialogue
from core.embeddings import Vectors, effective_number, embed, mean_distance
from core.figures import COLOURS, DASHES, MARKERS, save_figure
from core.journal import read_jsonl
from core.messages import UserMessage
from core.runs import latest
from core.settings import UserError
from generation.metrics.diversity import (
    DialogueTraits,
    SaturationSettings,
    dialogue_traits,
    digest,
    growth_per_doubling,
)
from generation.metrics.wording import SIZES, Grams, distinct_share, ngrams, self_similarity
from scripts.bench.benchmark import BenchSettings, Metric, Report, main
from training.mixture import find_data


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | Path) else value


class DiversitySettings(BenchSettings):
    """Settings of bench-diversity."""

    data: Annotated[tuple[Path, ...], BeforeValidator(_as_list)] = Field(
        default=(), description="generation runs, exports or dialogues.jsonl files; empty: the newest generation run"
    )
    names: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(
        default=(), description="what to call them, such as [before,after]; empty: the names of their folders"
    )
    dialogues: int = Field(default=10_000, ge=2, description="most dialogues of each, drawn at random")
    similar: int = Field(
        default=200, ge=1, description="dialogues whose nearest neighbour is sought, for self-similarity"
    )
    embedding: str | None = Field(
        default=None, description="model (directory or hub id) whose mean-pooled embeddings of goals are measured"
    )
    saturation: SaturationSettings = SaturationSettings(growth=0.2, dialogues=200)


@dataclass(frozen=True)
class Measured:
    """What is kept of a dialogue: its traits, the n-grams of its user messages for each of SIZES, its goals."""

    traits: DialogueTraits
    grams: tuple[Grams, ...]
    goals: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """Dialogues of one run, in random order, of the `available` ones."""

    name: str
    available: int
    dialogues: tuple[Measured, ...]


def read_sample(path: Path, name: str, most: int) -> Sample:
    """At most `most` dialogues, those with the smallest hashes of their ids, in the order of these. Raises UserError if
    there are none with a task."""
    chosen: list[tuple[int, int, Measured]] = []  # a heap whose first entry has the largest hash
    available = 0
    for file in find_data(path):
        for dialogue in read_jsonl(file, Dialogue):
            key = -digest(dialogue.dialogue_id)
            available += bool(dialogue.tasks)
            if not dialogue.tasks or (len(chosen) == most and key < chosen[0][0]):
                continue
            add = heapq.heappushpop if len(chosen) == most else heapq.heappush
            add(chosen, (key, available, measured(dialogue)))
    if not chosen:
        raise UserError(f"data={path} was given, but none of its dialogues has a task")
    ordered = sorted(chosen, key=lambda entry: (-entry[0], entry[1]))
    return Sample(name, available, tuple(of_dialogue for _, _, of_dialogue in ordered))


def measured(dialogue: Dialogue) -> Measured:
    said = [message.content for message in dialogue.messages if isinstance(message, UserMessage)]
    return Measured(dialogue_traits(dialogue), ngrams(said), tuple(task.goal for task in dialogue.tasks))


def sizes(count: int) -> list[int]:
    """100, 200, 500, 1,000 … below `count`, half of it, and `count` itself.

    >>> sizes(930)
    [100, 200, 465, 500, 930]
    """
    steps = [step * 10**power for power in range(2, 8) for step in (1, 2, 5)]
    return sorted({*(size for size in steps if size < count), *([count // 2] if count > 1 else []), count})


def curve(sample: Sample, settings: DiversitySettings) -> list[dict[str, Any]]:
    """One point for each of `sizes`, over the first dialogues of the sample."""
    vectors, ends = _embedded(sample, settings.embedding)
    points = []
    for size in sizes(len(sample.dialogues)):
        first = sample.dialogues[:size]
        distinct = {
            name: len(frozenset().union(*(getattr(own.traits, name) for own in first)))
            for name in DialogueTraits.__dataclass_fields__
        }
        point: dict[str, Any] = {"dialogues": size, **distinct}
        point["tool_coverage"] = round(distinct["tools_used"] / max(1, distinct["tools_declared"]), 4)
        for place, length in enumerate(SIZES):
            point[f"distinct_{length}"] = round(distinct_share([own.grams[place] for own in first]), 4)
        queried = Random(f"{settings.seed}/{size}").sample(range(size), min(size, settings.similar))
        point["self_similarity"] = round(self_similarity([own.grams[-1] for own in first], queried), 4)
        if vectors is not None:
            known = vectors[: ends[size - 1]]
            point["embedding_distance"] = round(mean_distance(known), 4)
            point["effective_goals"] = round(effective_number(known), 2)
        points.append(point)
    return points


def _embedded(sample: Sample, model: str | None) -> tuple[Vectors | None, list[int]]:
    """The vectors of all goals, and where those of each dialogue end."""
    if model is None:
        return None, []
    ends = list(accumulate(len(own.goals) for own in sample.dialogues))
    return embed(model, [goal for own in sample.dialogues for goal in own.goals]), ends


def growth(points: Sequence[dict[str, Any]]) -> float:
    """The growth of the goal skeletons from half of the dialogues to all, per doubling."""
    whole = points[-1]
    half = next((point for point in points if point["dialogues"] == whole["dialogues"] // 2), whole)
    if half is whole:
        return 0.0
    return growth_per_doubling(half["dialogues"], whole["dialogues"], half["goal_skeletons"], whole["goal_skeletons"])


def measure(settings: DiversitySettings) -> Report:
    paths = settings.data or (latest(settings.outputs, "generate", "make generate"),)
    names = settings.names or tuple(path.stem if path.is_file() else path.resolve().name for path in paths)
    if len(names) != len(paths) or len(set(names)) != len(names):
        raise UserError(f"names={list(names)} was given; expected: a different name for each of {len(paths)} data sets")
    console = stage_console()
    curves: dict[str, list[dict[str, Any]]] = {}
    available, metrics = {}, []
    for path, name in zip(paths, names, strict=True):
        sample = read_sample(path, name, settings.dialogues)
        available[name], curves[name] = sample.available, curve(sample, settings)
        _show(console, name, curves[name])
        metrics.append(
            Metric(
                name=f"{name}: growth of goal skeletons per doubling",
                value=growth(curves[name]),
                target=settings.saturation.growth,
                better="higher",
            )
        )
        if not metrics[-1].met and curves[name][-1]["dialogues"] >= settings.saturation.dialogues:
            console.print(f"{name}: the goals are saturated: more dialogues mostly repeat them", style="bold yellow")
    draw(curves, settings.directory / "diversity")
    notes = {"dialogues available": available, "curves": curves}
    return Report(name="diversity", inputs=settings.model_dump(mode="json"), metrics=tuple(metrics), notes=notes)


COLUMNS = {
    "dialogues": "dialogues",
    "goal_skeletons": "goals",
    "subgoal_skeletons": "subgoals",
    "plan_shapes": "plans",
    "system_prompts": "prompts",
    "tool_coverage": "tools",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "distinct_3": "distinct-3",
    "self_similarity": "self-similarity",
    "embedding_distance": "distance",
    "effective_goals": "effective goals",
}
"""Key of a point -> heading."""


def _show(console: Console, name: str, points: Sequence[dict[str, Any]]) -> None:
    shown = [key for key in COLUMNS if key in points[0]]
    table = Table(title=f"{name}: distinct without values", box=box.SIMPLE_HEAD, pad_edge=False)
    for key in shown:
        table.add_column(COLUMNS[key], justify="right")
    for point in points:
        table.add_row(*(f"{point[key]:,}" if isinstance(point[key], int) else f"{point[key]:.3f}" for key in shown))
    console.print(table)


def draw(curves: dict[str, list[dict[str, Any]]], stem: Path) -> list[Path]:
    """The curves of all runs, a panel for each group of measures; returns the paths of <stem>.png and <stem>.pdf."""
    panels = [
        ("goal_skeletons", "distinct goals without values"),
        ("subgoal_skeletons", "distinct subgoals without values"),
        ("plan_shapes", "distinct plan shapes"),
        ("system_prompts", "distinct system prompts"),
        ("tool_coverage", "tools used in gold calls"),
        ("distinct_3", "distinct-3 of user messages"),
        ("self_similarity", "self-similarity of users"),
        ("effective_goals", "effective number of goals"),
    ]
    drawn = [(key, title) for key, title in panels if all(key in points[0] for points in curves.values())]
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    axes_of = figure.subplots(2, 4).flat
    for axes, (key, title) in zip(axes_of, drawn, strict=False):
        for number, (name, points) in enumerate(curves.items()):
            axes.plot(
                [point["dialogues"] for point in points],
                [point[key] for point in points],
                DASHES[number % len(DASHES)],
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                markersize=3.5,
                linewidth=1.3,
                label=name,
            )
        axes.set_title(title, fontsize=9)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("dialogues", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(color="#dddddd", linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(figure.axes)[len(drawn) :]:
        axes.set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return save_figure(figure, stem)


if __name__ == "__main__":
    main(DiversitySettings, measure)
