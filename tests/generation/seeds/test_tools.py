"""Seeds made of tools: Nemotron's rows and your own files, and the reports of unusable ones."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import datasets
import pytest

from core.settings import UserError
from generation.seeds.base import Seed
from generation.seeds.nemotron import NemotronSeeds
from generation.seeds.tools import ToolSeeds

Raw = dict[str, Any]

CITY = {"type": "object", "properties": {"city": {"type": "string", "description": "Where."}}, "required": ["city"]}
OPENAI = {"type": "function", "function": {"name": "get_weather", "description": "The weather.", "parameters": CITY}}


def flat(name: str, **properties: Any) -> Raw:
    return {"name": name, "description": f"Does {name}.", "parameters": {"type": "object", "properties": properties}}


# Nemotron


def row(number: int, tools: Any, **more: Any) -> Raw:
    """A row in the dataset's format."""
    call = {"id": "c0", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Porto"}'}}
    return {
        "uuid": str(uuid.UUID(int=number << 96 | number)),
        "license": "cc-by-4.0",
        "generator": "Qwen3-235B-A22B",
        "version": "v1",
        "category": "tool_calling",
        "reasoning": "on",
        "messages": [
            {"role": "system", "content": "", "tool_calls": []},
            {"role": "user", "content": "What is it like in Porto?", "tool_calls": []},
            {"role": "assistant", "content": "<think>\nI look it up.\n</think>", "tool_calls": [call]},
            {"role": "tool", "content": '{"sky": "clear"}', "tool_calls": []},
        ],
        "metadata": json.dumps({"tools": tools}) if tools is not None else "{}",
    } | more


PAIR = [OPENAI, {"type": "function", "function": flat("search.flights", to={"type": "str"})}]
ROWS = [
    row(0xBB, PAIR),
    row(0xAA, [flat("a"), flat("b"), flat("c", x={"type": "Widget"})], license="cc-by-nc-4.0"),
    row(0xCC, list(reversed(PAIR))),
    row(0xDD, [flat("lonely")]),
    row(0xEE, None),
    row(0xFF, PAIR, metadata="{'tools': []}"),
    row(0x11, [flat("a"), flat("b"), flat("b", y={"type": "int"})], license=None),
]


def write_rows(path: Path, rows: list[Raw]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        datasets.Dataset.from_list(rows).to_parquet(path)
    else:
        path.write_text("".join(f"{json.dumps(line)}\n" for line in rows))
    return path


@pytest.fixture(
    scope="module", params=["rows.jsonl", "rows.parquet", "folder/data/tool_calling-00000-of-00001.parquet"]
)
def nemotron(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("nemotron")
    write_rows(directory / request.param, ROWS)
    return directory / Path(request.param).parts[0]


def test_one_seed_for_each_set_of_tools(nemotron: Path) -> None:
    source = NemotronSeeds(nemotron)
    seeds = source.load()
    assert [seed.name for seed in seeds] == ["nemotron_000000aa", "nemotron_000000bb"]
    first, second = seeds
    assert [tool.name for tool in first.tools] == ["a", "b"]
    assert [tool.name for tool in second.tools] == ["get_weather", "search_flights"]
    assert second.tools[1].parameters["properties"] == {"to": {"type": "string"}}
    assert (first.licence, second.licence) == ("cc-by-nc-4.0", "cc-by-4.0")
    assert (second.title, second.description) == ("weather and flight", "")
    assert {(seed.source, seed.database, seed.engine, seed.held_out) for seed in seeds} == {
        ("nemotron", None, None, False)
    }
    # 2 used + 5 skipped = 7 rows
    assert source.skipped == {"tool": 2, "seen before": 2, "too few tools": 1, "no tools": 2}
    assert "the type 'Widget' has no JSON form" in source.problems["tool"]
    assert source.problems["too few tools"] == "1 of 1 can be used"
    assert source.problems["no tools"] == 'metadata has no list under "tools"'


def test_a_limit_takes_the_first_sets_and_reads_no_further(tmp_path: Path) -> None:
    endless = write_rows(tmp_path / "rows.jsonl", [row(n, [flat("a"), flat(f"b{n}")]) for n in range(50)])
    source = NemotronSeeds(endless, limit=3)
    assert [seed.name[-2:] for seed in source.load()] == ["00", "01", "02"]
    assert NemotronSeeds(endless, limit=3).load() == source.load()
    assert sum(source.skipped.values()) == 0
    assert len(NemotronSeeds(endless).load()) == 50


def test_a_longer_uuid_prefix_where_eight_digits_are_taken(tmp_path: Path) -> None:
    ids = ["aaaaaaaa-1111-4000-8000-000000000000", "aaaaaaaa-2222-4000-8000-000000000000", "", None]
    rows = [row(n, [flat("a"), flat(f"b{n}")], uuid=given_id) for n, given_id in enumerate(ids)]
    names = [seed.name for seed in NemotronSeeds(write_rows(tmp_path / "rows.jsonl", rows)).load()]
    assert {"nemotron_aaaaaaaa", "nemotron_aaaaaaaa2222"} <= set(names)
    assert len(set(names)) == 4


def test_the_minimum_number_of_tools(nemotron: Path) -> None:
    assert [len(seed.tools) for seed in NemotronSeeds(nemotron, min_tools=1).load()] == [2, 2, 1]
    with pytest.raises(
        UserError, match=r"none of its rows has usable tools: .*5 × too few tools \(2 of 2 can be used\)"
    ):
        NemotronSeeds(nemotron, min_tools=3).load()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(1, None)], "1 × no tools"),
        ([row(1, [flat("f", a={"type": "Widget"})])], r"0 of 1 can be used; the type 'Widget'"),
        ([{"uuid": "u", "license": "l", "tools": "[]"}], "row 0 has no metadata"),
    ],
)
def test_rows_without_usable_tools(rows: list[Raw], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        NemotronSeeds(write_rows(tmp_path / "rows.jsonl", rows)).load()


def test_an_unreadable_source_is_named(tmp_path: Path, nemotron: Path) -> None:
    (tmp_path / "bad.parquet").write_text("not Parquet")
    with pytest.raises(UserError, match=r"bad\.parquet, split=tool_calling was given, but it cannot be read"):
        NemotronSeeds(tmp_path / "bad.parquet").load()
    with pytest.raises(UserError, match=r"absent\.jsonl.*there is no such file"):
        NemotronSeeds(tmp_path / "absent.jsonl").load()
    for wrong in ({"limit": 0}, {"min_tools": 0}, {"limit": "many"}, {"min_tools": None}):
        with pytest.raises(UserError, match=r"limit=.*, min_tools=.* was given; expected: integers of at least 1"):
            NemotronSeeds(**wrong)
    if nemotron.is_dir():
        with pytest.raises(UserError, match=r"split=chat.*Available splits: \['tool_calling'\]"):
            NemotronSeeds(nemotron, "chat").load()


def test_without_the_network_the_hub_id_gives_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as error:
        NemotronSeeds().load()
    assert "path=nvidia/Nemotron-Post-Training-Dataset-v1 was given, but it cannot be reached" in str(error.value)
    assert "or a local folder, .json, .jsonl or .parquet file with the columns uuid, license, metadata" in str(
        error.value
    )


# Your own files


def write_lines(path: Path, *given_lines: Any) -> Path:
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in given_lines)
    )
    return path


def test_the_single_tools_of_a_file_are_one_domain(tmp_path: Path) -> None:
    (seed,) = ToolSeeds(
        [write_lines(tmp_path / "travel.jsonl", OPENAI, "", flat("b", note={"type": "str", "description": "\u2028"}))],
        "MIT",
    ).load()
    assert isinstance(seed, Seed)
    assert (seed.name, seed.source, seed.licence, seed.engine, seed.database) == ("travel", "tools", "MIT", None, None)
    assert [tool.name for tool in seed.tools] == ["get_weather", "b"]
    assert (seed.title, seed.description) == ("travel", "")


def test_a_line_may_be_a_domain(tmp_path: Path) -> None:
    complete = {
        "domain": "halls",
        "description": "Halls to book.",
        "tools": PAIR,
        "licence": "CC0",
        "rows": {"halls": [{"id": 1}]},
    }
    bare = {"domain": "gym", "tools": [flat("a")]}
    gym, halls, single = ToolSeeds([write_lines(tmp_path / "x.jsonl", complete, flat("b"), bare)]).load()
    assert (halls.name, halls.description, halls.licence, halls.rows) == (
        "halls",
        "Halls to book.",
        "CC0",
        {"halls": [{"id": 1}]},
    )
    assert [tool.name for tool in halls.tools] == ["get_weather", "search_flights"]
    assert (gym.name, gym.licence, gym.rows) == ("gym", "not stated", {})
    assert (single.name, [tool.name for tool in single.tools]) == ("x", ["b"])


@pytest.mark.parametrize(
    ("given_lines", "message"),
    [
        (["{nope"], "line 1: not JSON"),
        ([OPENAI, "", "[1]"], "line 3: expected an object"),
        ([OPENAI, {"nam": "x"}], "line 2: the name None cannot be used"),
        ([OPENAI, OPENAI], "line 2: the tool get_weather appears twice"),
        ([{"tools": PAIR}], "line 1: domain: Field required"),
        ([{"domain": "d", "tools": []}], "line 1: tools: "),
        ([{"domain": "d", "tools": "get_x"}], "line 1: tools: expected: a list of tools"),
        (
            [{"domain": "d", "tools": [*PAIR, flat("f", a={"type": "Widget"})]}],
            "line 1: tools: tool 3: the type 'Widget'",
        ),
        ([{"domain": "d", "tools": [OPENAI, OPENAI]}], "line 1: tools: tool 2: the tool get_weather appears twice"),
        ([{"domain": "d", "tools": PAIR, "license": "MIT"}], "line 1: license: Extra inputs"),
        ([{"domain": "d", "tools": PAIR, "rows": [1]}], "line 1: rows: "),
        (
            [{"domain": "d", "tools": PAIR}, {"domain": "d", "tools": PAIR}],
            r"line 2: the domain 'd' was defined before, in .*line 1",
        ),
        ([], "it is empty"),
    ],
)
def test_an_unusable_line_is_named(given_lines: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"tools\.jsonl.*{message}"):
        ToolSeeds([write_lines(tmp_path / "tools.jsonl", *given_lines)]).load()


def test_paths_that_are_not_files_of_tools(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jsonl was given, but it cannot be read"):
        ToolSeeds([tmp_path / "absent.jsonl"]).load()
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        ToolSeeds([tmp_path / "binary.jsonl"]).load()
    for wrong in ("tools.jsonl", []):
        with pytest.raises(UserError, match="a list of files is expected"):
            ToolSeeds(wrong).load()


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    paths = [write_lines(tmp_path / "a.jsonl", OPENAI), write_lines(tmp_path / "other" / "a.jsonl", OPENAI)]
    with pytest.raises(UserError, match="the domain 'a' was defined before"):
        ToolSeeds(paths).load()
