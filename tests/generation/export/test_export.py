"""Exports: what is written, that `datasets` reads it, the card, the report, and that order changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import datasets
import pytest
import yaml
from huggingface_hub import DatasetCard
from pydantic import TypeAdapter

from core.dialogue import Dialogue
from core.journal import RecordError, read_jsonl, write_jsonl
from core.messages import Message
from core.settings import UserError
from generation.export import hub
from generation.export.benchmark_texts import BenchmarkData, BenchmarkText
from generation.export.card import hub_licence
from generation.export.dedup import Removal
from generation.export.export import export
from generation.export.index import find_dialogues
from generation.export.report import Report
from tests.generation.helpers.export_dialogues import FIND, PROVENANCE, dialogue, export_settings
from tests.generation.helpers.pipeline_runs import FinishedRun

SECRET = BenchmarkData(
    name="exam", version="7", tools=(), entities=(BenchmarkText(text="agent_99", of="task 3"),), texts=()
)


class StepCounter:
    """Counts the units done of each step."""

    def __init__(self) -> None:
        self.done: dict[str, list[int]] = {}

    def step(self, name: str, total: int) -> Callable[[int], None]:
        self.done[name] = [total, 0]

        def on_units(count: int) -> None:
            self.done[name][1] += count

        return on_units


def exported(files: Sequence[Path], directory: Path, **settings: Any) -> Report:
    directory.mkdir()
    chosen = export_settings(directory.parent, **settings)
    watcher = StepCounter()
    report = export(files, directory, chosen, [SECRET], "run-1", {"vllm": "0.32.0"}, watcher)
    assert all(total == done for total, done in watcher.done.values()), watcher.done
    return report


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


CALL = ("find", {"hall": "Ann's"}, '[{"hall": 1}]')
OTHER = PROVENANCE | {"source": "spider", "licence": "CC BY-SA 4.0", "seed": 1}
NO_SAMPLING = {key: value for key, value in PROVENANCE.items() if key != "sampling"}
DIALOGUES = (
    dialogue("user_oriented-1", "Find me a hall, please.", "Hall one.", "Thanks!", goals=["A hall."], calls=[CALL]),
    dialogue("user_oriented-2", "Something else entirely?", "No, nothing.", provenance=OTHER, domain="shops"),
    dialogue("user_oriented-3", "find me a HALL please", "hall one", "thanks", goals=["A hall."], calls=[CALL]),
    dialogue("user_oriented-4", "I am agent_99, let me in.", "No.", goals=["Get in."]),
    dialogue(
        "exec-1", "Find me a hall, please.", "Hall one.", pipeline="exec", calls=[CALL, CALL], provenance=NO_SAMPLING
    ),
    dialogue("exec-2", "Noé wants “ﬁnger food”\u2028now", "Ok\n\nthen.", pipeline="exec", verdict=None),
)


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, Report]:
    """A run of two pipelines, exported."""
    for name in ("user_oriented", "exec"):
        write_jsonl(tmp_path / "run" / name / "dialogues.jsonl", [line for line in DIALOGUES if line.pipeline == name])
    return tmp_path / "out", exported(find_dialogues(tmp_path / "run"), tmp_path / "out")


def test_kept_dialogues_are_written_unchanged(run: tuple[Path, Report]) -> None:
    directory, report = run
    kept = [DIALOGUES[0], DIALOGUES[1]], [DIALOGUES[4], DIALOGUES[5]]
    assert tuple(read_jsonl(directory / "data" / "user_oriented.jsonl", Dialogue)) == tuple(kept[0])
    original = (directory.parent / "run" / "exec" / "dialogues.jsonl").read_bytes()
    assert (directory / "data" / "exec.jsonl").read_bytes() == original
    assert list(read_jsonl(directory / "removed.jsonl", Removal)) == [
        Removal(dialogue_id="user_oriented-3", pipeline="user_oriented", why="calls", of="user_oriented-1"),
        Removal(
            dialogue_id="user_oriented-4",
            pipeline="user_oriented",
            why="entities",
            of="exam: task 3",
            detail="agent_99",
        ),
    ]
    assert Report.model_validate_json((directory / "report.json").read_text()) == report
    counts = {name: (of.read, of.kept, of.removed) for name, of in report.pipelines.items()}
    assert counts == {"exec": (2, 2, {}), "user_oriented": (4, 2, {"calls": 1, "entities": 1})}
    assert report.unvalidated == 1


def load(what: str, cache: Path, **more: Any) -> Any:
    return datasets.load_dataset(what, cache_dir=str(cache), **more)


def test_datasets_reads_all_forms(run: tuple[Path, Report], tmp_path: Path) -> None:
    directory, _ = run
    messages = load(str(directory), tmp_path / "cache")
    assert set(messages) == {"user_oriented", "exec"}
    lines, full = (
        {
            name: load("json", tmp_path / "cache", data_files=str(directory / folder / f"{name}.jsonl"), split="train")
            for name in messages
        }
        for folder in ("messages", "data")
    )
    by_id = {line.dialogue_id: line for line in DIALOGUES}
    for form in (messages, lines):
        for row in [row for split in form.values() for row in split]:
            line = by_id[row["id"]]
            tools = json.loads(row["tools"])
            assert tools == [FIND.openai()]
            assert (
                TypeAdapter(tuple[Message, ...]).validate_python(
                    [_without_none(message) for message in row["messages"]]
                )
                == line.messages
            )
            names = (row["pipeline"], row["domain"], row["source"], row["licence"])
            assert names == (line.pipeline, line.domain, line.provenance.source, line.provenance.licence)
    for row in full["exec"]:
        assert row["provenance"] == by_id[row["dialogue_id"]].provenance.model_dump()


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def test_neither_order_nor_files_nor_repetition_change_a_byte(run: tuple[Path, Report], tmp_path: Path) -> None:
    directory, _ = run
    expected = contents(directory)
    assert set(expected) == {
        "README.md", "report.json", "removed.jsonl",
        *(f"data/{name}.jsonl" for name in ("exec", "user_oriented")),
        *(f"messages/{name}.{kind}" for name in ("exec", "user_oriented") for kind in ("jsonl", "parquet")),
    }  # fmt: skip
    for seed in range(3):
        rng = Random(seed)
        lines = rng.sample(DIALOGUES, len(DIALOGUES))
        cut = rng.randrange(1, len(lines))
        files = [tmp_path / f"{seed}a.jsonl", tmp_path / f"{seed}b.jsonl"]
        write_jsonl(files[0], lines[:cut])
        write_jsonl(files[1], lines[cut:])
        exported(files, tmp_path / f"out{seed}")
        assert contents(tmp_path / f"out{seed}") == expected
    # Again into the same folder, as after an interruption: no leftovers, no differences.
    (directory / "README.md").unlink()
    (directory / "data" / "exec.jsonl").write_text("half a li")
    export(
        find_dialogues(tmp_path / "run"),
        directory,
        export_settings(tmp_path),
        [SECRET],
        "run-1",
        {"vllm": "0.32.0"},
        StepCounter(),
    )
    assert contents(directory) == expected


def test_table_1_by_hand(run: tuple[Path, Report]) -> None:
    rows = {(row.pipeline, row.source): row for row in run[1].statistics}
    assert set(rows) == {("exec", "bundled"), ("user_oriented", "bundled"), ("user_oriented", "spider")}
    both = rows["exec", "bundled"]
    # One dialogue with two rounds of tools in one request: 6 turns; one without: 2 turns, and no request that counts.
    assert (both.samples, both.step.mean, both.step.max) == (2, 2.0, 2)
    assert (both.turn.mean, both.turn.max, both.task.mean) == (4.0, 6, 0.0)
    assert rows["user_oriented", "spider"].step.mean == 0.0


def test_table_1_equals_that_of_the_generation(executed: FinishedRun, tmp_path: Path) -> None:
    report = exported([executed.directory / "dialogues.jsonl"], tmp_path / "out")
    (row,) = report.statistics
    assert report.pipelines["user_oriented_exec"].removed == {}
    generated = executed.statistics
    assert (row.step, row.turn, row.task, row.samples) == (
        generated.step,
        generated.turn,
        generated.task,
        generated.accepted,
    )
    # These dialogues have no toolset provenance, and a model with unrecorded sampling.
    assert set(report.provenance.missing) <= {"sampling", "source", "licence"}
    assert all(count == generated.accepted for count in report.provenance.missing.values())


def test_the_card_states_the_provenance(run: tuple[Path, Report], tmp_path: Path) -> None:
    directory, _ = run
    card = DatasetCard.load(directory / "README.md")
    header = yaml.safe_load((directory / "README.md").read_text().split("---")[1])
    assert header["license"] == card.data.license == ["apache-2.0", "cc-by-sa-4.0"]
    assert [config["config_name"] for config in header["configs"]] == ["messages"]
    files = [data["path"] for config in header["configs"] for data in config["data_files"]]
    assert all((directory / file).is_file() for file in files)
    for line in (
        "| bundled | Apache-2.0 | 1 | 3 |",
        "| spider | CC BY-SA 4.0 | 1 | 1 |",
        "| exec | bundled | 2.00 (2) | 4.00 (6) | 0.00 (0) | 2 |",
        "| user_oriented | 4 | calls (1), entities (1) | 2 |",
        "| exam (7) | 1 | entities | 1 | drop | `agent_99` (task 3) |",
        "- Model: scripted (4)",
        '- Sampling: not stated (1), {"temperature": 0.6} (3)',
        "- Random seed: 0 (3), 1 (1)",
        "- Code (commit): c0ffee (4)",
        "- Prompts (name and hash): agent 0a1b",
        "- Packages: vllm 0.32.0",
        "Not stated in the provenance: sampling (1).",
        "Generation run `run-1`.",
        "**1 of them were not validated.**",
    ):
        assert line in card.text, line
    assert "in-domain" not in card.text


def test_the_card_names_what_is_in_domain(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "d.jsonl", [dialogue("a", "Hi.", "Hi.", provenance=PROVENANCE | {"source": "exam"})])
    report = exported([tmp_path / "d.jsonl"], tmp_path / "out")
    assert report.contamination["exam"].in_domain == 1
    assert "**1 dialogues are in-domain for exam**" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("named", "identifier"),
    [
        ("Apache-2.0", "apache-2.0"),
        ("MIT", "mit"),
        ("CC BY-SA 4.0", "cc-by-sa-4.0"),
        ("cc-by-4.0", "cc-by-4.0"),
        ("not stated", "other"),
        ("Our own licence", "other"),
    ],
)
def test_licences_have_the_hubs_names(named: str, identifier: str) -> None:
    assert hub_licence(named) == identifier


def without_messages(line: Dialogue) -> Dialogue:
    return line.model_copy(update={"messages": (), "task_starts": ()})


@pytest.mark.parametrize(
    ("lines", "error", "says"),
    [
        (
            (DIALOGUES[0], without_messages(DIALOGUES[1])),
            UserError,
            "line 2: user_oriented-2 was never played.*rollout",
        ),
        ((DIALOGUES[0], DIALOGUES[0]), UserError, "line 2: the id user_oriented-1 occurred before"),
        ((DIALOGUES[3],), UserError, "none of 1 dialogues remains: user_oriented: entities 1"),
        ((), UserError, "none of 0 dialogues remains"),
        (
            (DIALOGUES[0].model_copy(update={"pipeline": "../x"}),),
            UserError,
            "pipeline='../x' was given; expected: a name",
        ),
        ((Removal(dialogue_id="a", pipeline="b", why="near", of="c"),), RecordError, "line 1: not a dialogue: "),
    ],
)
def test_a_line_that_cannot_be_exported_is_named(
    lines: Sequence[Any], error: type[Exception], says: str, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "d.jsonl", lines)
    with pytest.raises(error, match=says):
        exported([tmp_path / "d.jsonl"], tmp_path / "out")
    assert contents(tmp_path / "out") == {}


def test_a_folder_without_dialogues_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"data={tmp_path} was given; expected: a generation run or a dialogues.jsonl"):
        find_dialogues(tmp_path)


def test_a_parquet_file_is_written_atomically(run: tuple[Path, Report], monkeypatch: pytest.MonkeyPatch) -> None:
    directory, _ = run
    before = contents(directory)

    def interrupt(line: bytes) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr("generation.export.export.chat_row", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(
            find_dialogues(directory.parent / "run"),
            directory,
            export_settings(directory),
            [SECRET],
            "other",
            {},
            StepCounter(),
        )
    assert contents(directory) == before


class FakeHub:
    """Records uploads; raises `error` instead if given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def create_repo(self, name: str, **more: Any) -> None:
        if self.error:
            raise self.error
        self.calls.append((name, more))

    def upload_folder(self, **more: Any) -> Any:
        self.calls.append((more.pop("repo_id"), more))
        return type("Commit", (), {"repo_url": "https://hub/org/name"})


def test_an_upload_contains_only_the_data_and_the_card(
    run: tuple[Path, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, _ = run
    (directory / "manifest.json").write_text("{}")
    fake = FakeHub()
    monkeypatch.setattr(hub, "HfApi", lambda: fake)
    assert hub.push(directory, "org/name", private=True) == "https://hub/org/name"
    (created, repo), (uploaded, folder) = fake.calls
    assert created == uploaded == "org/name"
    assert (repo["private"], repo["repo_type"], folder["repo_type"]) == (True, "dataset", "dataset")
    assert folder["folder_path"] == directory
    chosen = {str(p.relative_to(directory)) for pattern in folder["allow_patterns"] for p in directory.glob(pattern)}
    assert chosen == set(contents(directory)) - {"manifest.json"}


def test_a_refusal_of_the_hub_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "HfApi", lambda: FakeHub(RuntimeError("401 Unauthorized")))
    with pytest.raises(UserError, match=r"push_to_hub=org/name was given.*401 Unauthorized.*hf auth login"):
        hub.push(tmp_path, "org/name", private=True)
