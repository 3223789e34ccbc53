"""A whole run: split by domain, files, repetitions, resuming, and seeds made of it."""

from __future__ import annotations

import asyncio
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest

from core.journal import read_jsonl
from core.settings import UserError, typed
from generation.database.held_out_mark import is_held_out
from generation.llm.base import LLM
from generation.scripted.database_parts import all_words
from generation.scripted.llm import ScriptedLLM
from generation.seeds.sqlite import SqliteSeeds
from generation.seeds.synthesised import DatabaseRecord, SynthesisedSeeds
from generation.synthesis.areas import areas, drawn
from generation.synthesis.known_schemas import known_schemas
from generation.synthesis.likeness import likeness, names_of
from generation.synthesis.run import DatabasesSettings, Finished, ideas, make_databases
from generation.synthesis.split import SplitSettings, part_of, split_hash
from generation.synthesis.writer import Candidate
from generation.tools.from_questions import refuse_held_out
from scripts.launch import CONF
from tests.generation.helpers.database_answers import BoatHireLLM

N = 10


def settings_of(**changed: Any) -> DatabasesSettings:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = dict(hydra.compose("databases", ["bfcl=null", f"n={N}"]))
    return typed(config | changed, DatabasesSettings)


def run(
    directory: Path,
    settings: DatabasesSettings,
    llm: LLM | None = None,
    watch: Callable[[Candidate], None] = lambda candidate: None,
) -> Finished:
    return asyncio.run(make_databases(settings, known_schemas(None, None), llm or ScriptedLLM(), directory, watch))


def files(directory: Path) -> dict[str, bytes]:
    paths = (path for path in sorted(directory.rglob("*")) if path.is_file() and path.name != "journal.jsonl")
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    directory = tmp_path_factory.mktemp("databases")
    return directory, run(directory, settings_of())


def test_a_run_of_the_stand_in(finished: tuple[Path, Finished]) -> None:
    directory, outcome = finished
    assert len(outcome.accepted) + len(outcome.rejected) == N
    assert len(outcome.accepted) >= N - 2
    assert {record.name: is_held_out(directory / record.file) for record in outcome.accepted} == {
        record.name: record.part == "held_out" for record in outcome.accepted
    }
    assert list(read_jsonl(directory / "databases.jsonl", DatabaseRecord)) == list(outcome.accepted)
    schemas = [names_of(record.spec, record.name) for record in outcome.accepted]
    assert max(likeness(a, b) for a in schemas for b in schemas if a is not b) < 0.6
    results = outcome.results()
    assert results["accepted"] == len(outcome.accepted)
    assert results["rows"] == sum(table.rows for record in outcome.accepted for table in record.spec.tables)
    train = [(record.domain, record.sha256) for record in outcome.accepted if record.part == "train"]
    assert results["split_sha256"]["train"] == split_hash(reversed(train))


def test_an_interrupted_run_resumes_and_gives_the_same_files(finished: tuple[Path, Finished], tmp_path: Path) -> None:
    class PulledPlugError(Exception):
        pass

    def pull(count: int) -> Callable[[Candidate], None]:
        seen: list[Candidate] = []

        def watch(candidate: Candidate) -> None:
            seen.append(candidate)
            if len(seen) == count:
                raise PulledPlugError

        return watch

    for count in (2, 5):
        with pytest.raises(PulledPlugError):
            run(tmp_path, settings_of(concurrency=2), watch=pull(count))
    journal = tmp_path / "journal.jsonl"
    assert 2 <= journal.read_bytes().count(b"\n") < N
    assert not (tmp_path / "databases.jsonl").exists()
    journal.write_bytes(journal.read_bytes()[:-40])  # the last line is torn, as after kill -9
    run(tmp_path, settings_of(concurrency=3))
    assert files(tmp_path) == files(finished[0])


def test_a_model_that_is_down_ends_the_run_and_loses_nothing(tmp_path: Path) -> None:
    settings = settings_of(n=2, concurrency=1)
    with pytest.raises(UserError, match=r"cannot be reached.*the same command continues"):
        run(tmp_path, settings, BoatHireLLM(limit=7))
    assert (tmp_path / "journal.jsonl").read_bytes().count(b"\n") == 1
    llm = BoatHireLLM()
    outcome = run(tmp_path, settings, llm)
    assert len(llm.requests) == 5, "only the second database is written"
    assert [(c.number, c.kind) for c in outcome.rejected] == [(1, "repetition")]
    assert "100% alike database 0, boat hire" in outcome.rejected[0].reason


def test_an_internal_error_is_recorded(tmp_path: Path) -> None:
    def fail(request: Any, number: int) -> Any:
        raise ZeroDivisionError("oh")

    outcome = run(tmp_path, settings_of(n=1), BoatHireLLM(fail))
    assert [(c.kind, c.reason) for c in outcome.rejected] == [("internal", "ZeroDivisionError: oh")]


def test_training_refuses_held_out_databases_under_any_name(finished: tuple[Path, Finished], tmp_path: Path) -> None:
    directory, outcome = finished
    held_out = next(record for record in outcome.accepted if record.part == "held_out")
    train = next(record for record in outcome.accepted if record.part == "train")
    seeds = SynthesisedSeeds(directory).load()
    assert [seed.name for seed in seeds] == sorted(r.name for r in outcome.accepted if r.part == "train")
    refuse_held_out(seeds)
    assert next(seed for seed in seeds if seed.name == train.name).description == train.description
    with pytest.raises(UserError, match=f"{held_out.name}: held out for evaluation"):
        SynthesisedSeeds(directory, [held_out.name]).load()
    with pytest.raises(UserError, match="not held out, but held_out=true"):
        SynthesisedSeeds(directory, [train.name], held_out=True).load()
    for_evaluation = SynthesisedSeeds(directory, held_out=True).load()
    assert all(seed.held_out for seed in for_evaluation)
    with pytest.raises(UserError, match="refused as training seeds"):
        refuse_held_out(for_evaluation)
    shutil.copy(directory / held_out.file, tmp_path / "innocent.sqlite")
    with pytest.raises(UserError, match="refused as training seeds: innocent"):
        refuse_held_out(SqliteSeeds([tmp_path / "innocent.sqlite"]).load())
    shutil.copy(directory / train.file, tmp_path / "train.sqlite")
    refuse_held_out(SqliteSeeds([tmp_path / "train.sqlite"]).load())


def test_seeds_of_a_changed_or_missing_run_are_refused(finished: tuple[Path, Finished], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\(domains\.run;.*; expected: a finished run of `make databases`"):
        SynthesisedSeeds(tmp_path / "none").load()
    copy = tmp_path / "copy"
    shutil.copytree(finished[0], copy)
    record = next(record for record in finished[1].accepted if record.part == "train")
    (copy / record.file).write_bytes(b"other")
    with pytest.raises(UserError, match="SHA-256"):
        SynthesisedSeeds(copy, [record.name]).load()
    shutil.rmtree(copy / "train")
    with pytest.raises(UserError, match="missing"):
        SynthesisedSeeds(copy, [record.name]).load()


def test_the_split_depends_on_the_domain_alone_and_keeps_its_share() -> None:
    settings = SplitSettings(share=0.25, salt="a")
    names = [f"domain {number}" for number in range(4000)]
    held_out = [name for name in names if part_of(name, settings) == "held_out"]
    assert 0.22 < len(held_out) / 4000 < 0.28
    assert [part_of(name.upper(), settings) for name in held_out] == ["held_out"] * len(held_out)
    accented = [f"Café {number}" for number in range(200)]
    decomposed = [unicodedata.normalize("NFD", name) for name in accented]
    assert [part_of(name, settings) for name in accented] == [part_of(name, settings) for name in decomposed]
    more = SplitSettings(share=0.5, salt="a")
    assert all(part_of(name, more) == "held_out" for name in held_out), (
        "a larger share holds the same ones out and more"
    )
    assert part_of("x", SplitSettings(share=0, salt="a")) == "train"


def test_ideas(tmp_path: Path) -> None:
    assert [idea.domain for idea in ideas(settings_of(n=None))] == drawn(20, 0)
    assert set(drawn(len(areas()), 3)) == set(areas())
    assert drawn(len(areas()) + 1, 3)[-1] == drawn(1, 3)[0]
    assert drawn(9, 1) != drawn(9, 2)
    file = tmp_path / "sentences.txt"
    file.write_text("A zoo feeds animals.\n\n  A bank lends money.\nA zoo feeds animals.\n")
    from_file = ideas(settings_of(n=None, sentences=str(file)))
    assert [idea.sentence for idea in from_file] == ["A zoo feeds animals.", "A bank lends money."]
    file.write_bytes("A zoo\u2028feeds\x0canimals.\r\nA bank lends money.\r\n".encode())
    assert ideas(settings_of(n=None, sentences=str(file))) == from_file
    assert [idea.domain for idea in ideas(settings_of(n=1, sentences=["One.", "Two."]))] == ["One."]
    spellings = [unicodedata.normalize("NFD", "A Café."), "A Café.", "A CAFÉ."]
    assert [idea.sentence for idea in ideas(settings_of(n=None, sentences=spellings))] == ["A Café."]
    with pytest.raises(UserError, match="n=3 was given with 2 different sentences"):
        ideas(settings_of(n=3, sentences=["One.", "Two."]))
    with pytest.raises(UserError, match="cannot be read"):
        ideas(settings_of(n=None, sentences=str(tmp_path / "none.txt")))
    with pytest.raises(UserError, match="sentences is empty"):
        ideas(settings_of(n=None, sentences=[]))


def test_the_stand_in_has_words_for_every_area() -> None:
    assert {words.area for words in all_words()} == set(areas())
