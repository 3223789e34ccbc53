"""Pipelines with sources of their own: who generates from what, and what a later run makes of the toolsets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from core.dialogue import Dialogue
from core.journal import read_jsonl
from core.settings import UserError, typed
from generation.build import build, input_hashes
from generation.run import GenerateSettings
from generation.seeds.bundled import BundledSeeds
from generation.tools.toolset import Toolset
from scripts.generate import main
from scripts.launch import clear_errors, instantiate, refuse_missing
from scripts.verify import verify
from tests.helpers.paths import CONF

ROOMS = [
    {"name": name, "description": text, "parameters": {"type": "object", "properties": {key: {"type": kind}}}}
    for name, text, key, kind in (
        ("find_rooms", "Find rooms in a city.", "city", "string"),
        ("book_room", "Book a room.", "room_id", "integer"),
        ("cancel_booking", "Cancel a booking.", "booking_id", "integer"),
    )
]


def settings_of(*overrides: str) -> GenerateSettings:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = compose("generate", ["profile=tiny", "tracking.mode=disabled", *overrides])
    with clear_errors():
        refuse_missing(config)
    return typed(config, GenerateSettings)


def generate(outputs: Path, *overrides: str) -> Path:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = compose(
            "generate", ["profile=tiny", "tracking.mode=disabled", f"outputs={outputs}", "n=4", *overrides]
        )
    with clear_errors():
        main(config)
    return (outputs / "generate" / "latest").resolve()


@pytest.fixture
def rooms(tmp_path: Path) -> str:
    """The override that gives user_oriented tools of its own."""
    path = tmp_path / "rooms.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in ROOMS))
    own = "pipelines.user_oriented.domains"
    return f"domains@{own}=tools {own}.paths=[{path}]"


@pytest.fixture
def paper(tmp_path: Path) -> tuple[str, ...]:
    """The paper's sources in small: one of Nemotron's rows, and a bundled database in Spider's layout."""
    tools = json.dumps([{"type": "function", "function": tool} for tool in ROOMS])
    row = {"uuid": "0123456789", "license": "cc-by-4.0", "metadata": json.dumps({"tools": tools})}
    (tmp_path / "nemotron.jsonl").write_text(json.dumps(row) + "\n")
    (seed,) = BundledSeeds(tmp_path / "seeds", ["gym"]).load()
    assert seed.database
    folder = tmp_path / "spider" / "database" / "sports"
    folder.mkdir(parents=True)
    (folder / "sports.sqlite").write_bytes(seed.database.read_bytes())
    (tmp_path / "spider" / "tables.json").write_text(json.dumps([{"db_id": "sports", "table_names": ["members"]}]))
    return (
        "domains=paper",
        f"domains.simulated.path={tmp_path}/nemotron.jsonl",
        f"domains.sql.root={tmp_path}/spider",
    )


def domains_of(run: Path) -> dict[str, set[str]]:
    files = sorted(run.glob("*/dialogues.jsonl"))
    return {file.parent.name: {d.domain for d in read_jsonl(file, Dialogue)} for file in files}


PAPERS = {
    "task_oriented": {"nemotron_01234567"},
    "user_oriented": {"nemotron_01234567"},
    "user_oriented_exec": {"sports"},
}


def test_the_papers_sources_reach_the_pipelines_that_can_use_them(tmp_path: Path, paper: tuple[str, ...]) -> None:
    words = ("llm.error_rate=0", *paper)
    run = generate(tmp_path, *words)
    assert domains_of(run) == PAPERS
    made_for = {t.domain: t.pipelines for t in read_jsonl(run / "toolsets.jsonl", Toolset)}
    assert made_for == {"nemotron_01234567": ("task_oriented", "user_oriented"), "sports": ("user_oriented_exec",)}
    assert verify(run) == 0
    # The toolsets alone say whose they are: the same dialogues, whatever the sources, which are not read.
    again = generate(tmp_path / "again", "llm.error_rate=0", f"toolsets={run}/toolsets.jsonl")
    assert domains_of(again) == PAPERS
    other = generate(tmp_path / "tau2", *words, "pipeline=user_oriented_tau2", "domains.tau2.names=[airline]")
    assert domains_of(other) == {"user_oriented_tau2": {"tau2_airline"}}


def test_toolsets_of_another_pipeline_are_used_where_there_are_no_own_ones(tmp_path: Path, rooms: str) -> None:
    words = (*rooms.split(), "domains.names=[gym]", "pipeline=[user_oriented,user_oriented_exec]")
    run = generate(tmp_path, *words)
    assert domains_of(run) == {"user_oriented": {"rooms"}, "user_oriented_exec": {"gym"}}
    other = generate(tmp_path / "other", f"toolsets={run}/toolsets.jsonl", "pipeline=task_oriented")
    assert domains_of(other) == {"task_oriented": {"gym", "rooms"}}
    start = f"start.file={run}/user_oriented_exec/dialogues.jsonl"
    extended = generate(tmp_path / "extended", start, "pipeline=user_oriented_exec", "llm.error_rate=0")
    assert domains_of(extended) == {"user_oriented_exec": {"gym"}}


def test_a_source_of_several_pipelines_is_read_once(tmp_path: Path) -> None:
    """One database in two sources is one toolset; equal sources are one."""
    cache = f"cache={tmp_path}/seeds"
    own = "pipelines.user_oriented.domains"
    words = (f"domains.{cache}", f"domains@{own}=bundled", f"{own}.{cache}")
    equal = build(settings_of(*words), instantiate)
    assert {source.toolset.pipelines for source in equal.toolset_sources} == {()}
    assert [s.toolset.domain for s in equal.toolset_sources] == sorted(s.toolset.domain for s in equal.toolset_sources)
    settings = settings_of(*words, "domains.names=[gym,library]", f"{own}.names=[library,clinic]")
    components = build(settings, instantiate)
    others = ("task_oriented", "user_oriented_exec")
    assert {source.toolset.domain: source.toolset.pipelines for source in components.toolset_sources} == {
        "gym": others,
        "library": (*others, "user_oriented"),
        "clinic": ("user_oriented",),
    }
    assert len({*input_hashes(settings, components)} - {"toolsets", "start"}) == 3


def test_two_domains_of_one_name_are_refused(tmp_path: Path, rooms: str) -> None:
    (tmp_path / "gym.jsonl").write_text((tmp_path / "rooms.jsonl").read_text())
    words = rooms.replace("rooms.jsonl", "gym.jsonl").split()
    with pytest.raises(UserError, match=r"pipelines.user_oriented.domains: its domain gym has the name of another one"):
        build(settings_of(*words, "domains.names=[gym]", f"outputs={tmp_path}"), instantiate)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "profile=paper domains.simulated.path=/nope.jsonl",
            r"domains.sql: root was not given; expected: root=FOLDER, Spider's.*domains@pipelines.user_oriented_exec.dom",
        ),
        ("profile=paper pipeline=user_oriented_exec", r"domains.sql: root was not given"),
        (
            "profile=paper ~domains.sql",
            r"the pipeline user_oriented_exec needs one for sql: give domains@pipelines.user",
        ),
        (
            "pipeline=user_oriented domains@pipelines.user_oriented.domains=held_out",
            r"refused as training seeds: film_festival",
        ),
        (
            "domains@pipelines.user_oriented_exec.domains=tau2",
            r"user_oriented_exec executes tools of engine sql, but the seeds give tools of engine tau2",
        ),
    ],
)
def test_a_source_that_does_not_serve_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        generate(tmp_path, "llm=scripted", "serve=null", *words.split())
    assert re.search(message, capfd.readouterr().err)
