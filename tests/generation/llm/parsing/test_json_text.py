"""JSON in text: taken unchanged, repaired where it was intended, never made out of prose, never slow."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_repair.json_parser import JSONParser
from pydantic import BaseModel

from generation.llm.parsing.json_text import first_json, first_records, needs_repair, read_answer


class Turn(BaseModel):
    user_message: str
    is_task_complete: bool


TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=12)
NUMBER = st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False, width=32)
LEAF = st.none() | st.booleans() | NUMBER | TEXT
VALUE = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
OBJECT = st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), VALUE, min_size=1, max_size=4)
FRAMES = ["{}", "```json\n{}\n```", "Here it is:\n{}", "Answer: {}\nI hope that helps.", "<answer>{}</answer>"]


@given(OBJECT, st.sampled_from(FRAMES))
@settings(max_examples=100, deadline=None)
def test_valid_json_is_taken_unchanged(value: dict[str, Any], frame: str) -> None:
    text = frame.replace("{}", json.dumps(value, ensure_ascii=False))
    assert first_json(text, dict) == value
    assert not needs_repair(text)


PLAIN = st.from_regex(r"[A-Za-z][a-z0-9 ]{0,8}[a-z]", fullmatch=True).filter(
    lambda text: text.lower() not in {"true", "false", "null", "none", "nan", "inf"}
)
PLAIN_OBJECT = st.dictionaries(
    st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
    st.recursive(
        PLAIN | st.integers() | st.booleans() | st.none(), lambda inner: st.lists(inner, min_size=1, max_size=3)
    ),
    min_size=1,
    max_size=4,
)


@given(PLAIN_OBJECT, st.sampled_from(FRAMES))
@settings(max_examples=60, deadline=None)
def test_python_notation_is_read_as_the_same_value(value: dict[str, Any], frame: str) -> None:
    text = frame.replace("{}", repr(value))
    assert first_json(text, dict) == value
    assert needs_repair(text) == (json_or_none(repr(value)) != value)


@given(PLAIN_OBJECT)
@settings(max_examples=60, deadline=None)
def test_trailing_commas_and_comments_are_not_part_of_the_value(value: dict[str, Any]) -> None:
    lines = [f"  {json.dumps(name)}: {json.dumps(item)}, // as asked" for name, item in value.items()]
    assert first_json("\n".join(["{", *lines, "}"]), dict) == value


def json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, "b": [1, 2,],}', {"a": 1, "b": [1, 2]}),
        ("{'a': \"it's\", 'b': 'O\\'Brien'}", {"a": "it's", "b": "O'Brien"}),
        ('{"a": True, "b": None, "c": False}', {"a": True, "b": None, "c": False}),
        ('{"a": NaN, "b": -Infinity}', {"a": None, "b": None}),
        ("{'a': nan, 'b': None}", {"a": None, "b": None}),
        ("{a: 1, b: hello world}", {"a": 1, "b": "hello world"}),
        ('{"a": "unclosed}', {"a": "unclosed"}),
        ('{"a": {"b": [1, 2], "c": "x"', {"a": {"b": [1, 2], "c": "x"}}),
        ('{/* first */ "a": 1 # second\n}', {"a": 1}),
        ('/* as asked */ {"a": 1,}', {"a": 1}),
        ('{"a": "two\nlines"}', {"a": "two\nlines"}),
        ('{"a": "she said "yes" to me", "b": 2}', {"a": 'she said "yes" to me', "b": 2}),
        ("{“a”: “b”}", {"a": "b"}),
        ('{"a": "b" "c": "d"}', {"a": "b", "c": "d"}),
        ('{\\"a\\": 1}', {"a": 1}),
        ('```json\n{"a": 1,}\n```\nThe {rest} is "prose".', {"a": 1}),
        ('As noted in [1], this: {"a": 1,} [2]', {"a": 1}),
        ('{"outer": {"a": 1},}', {"outer": {"a": 1}}),
    ],
)
def test_intended_json_is_repaired(text: str, value: dict[str, Any]) -> None:
    assert first_json(text, dict) == value
    assert needs_repair(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I think {that is} fine.",
        "Use {name} and {value: x} in [the template].",
        "The form {'a': 1, 'b'} is not what I can give.",
        "See [1, 2 and {3}.",
        "A set {1, 2} in ['a', 'b'] order",
        "{",
        "[",
        'It\'s (a) "quoted: {word}": [sic]',
    ],
)
def test_prose_is_never_repaired_into_json(text: str) -> None:
    for kind in (dict, list):
        with pytest.raises(ValueError, match="expected a JSON"):
            first_json(text, kind)
    assert not needs_repair(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": }',
        '{"a" 1}',
        '{"a"',
        '{"a": , "b": {"c": 1}}',  # nor is the inner object the answer
        '{"a": "cut off in the mid',
        '{"a": 1e999}',
        '{"a": "\\ud83d"}',
        '{"a": "\\ud83d",}',
    ],
)
def test_nothing_is_invented(text: str) -> None:
    with pytest.raises(ValueError):
        first_json(text, dict)


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ('[{"a": 1}, {"a": 2}, {"a": "thr', [{"a": 1}, {"a": 2}]),
        ('[{"a": 1}, {"a": 2}, {"a": [3, {"b"', [{"a": 1}, {"a": 2}]),
        ("[{'a': 'one, two'}, {'a': 'it", [{"a": "one, two"}]),
        ('{"tools": [{"a": 1}, {"a": 2}, {"a"', [{"a": 1}, {"a": 2}]),
        ('[{"a": 1}, {"a": 2}', [{"a": 1}, {"a": 2}]),
        ('[{"a": 1},', [{"a": 1}]),
    ],
)
def test_complete_records_survive_truncation(text: str, complete: list[dict[str, Any]]) -> None:
    assert first_records(text) == complete
    assert needs_repair(text)


@given(st.lists(PLAIN_OBJECT, min_size=1, max_size=4), st.integers(0, 400))
@settings(max_examples=100, deadline=None)
def test_wherever_records_are_truncated_nothing_is_invented(records: list[dict[str, Any]], at: int) -> None:
    text = json.dumps(records)
    try:
        parsed = first_records(text[:at])
    except ValueError:
        parsed = []
    # The last one may lack fields, or items at the end of its fields, but has nothing extra.
    assert parsed[:-1] == records[: max(0, len(parsed) - 1)]
    assert all(is_prefix(records[len(parsed) - 1][name], item) for name, item in (parsed[-1] if parsed else {}).items())
    assert len(parsed) >= sum(len(json.dumps(records[: i + 1])) - 1 < at for i in range(len(records)))


def is_prefix(complete: Any, part: Any) -> bool:
    return bool(part == complete[: len(part)]) if isinstance(complete, list) else bool(part == complete)


def test_a_truncated_object_keeps_its_complete_fields() -> None:
    answer = '{"is_task_complete": false, "user_message": "I would like to bo'
    assert first_json(answer, dict) == {"is_task_complete": False}
    with pytest.raises(ValueError, match="user_message: Field required"):
        read_answer(answer, Turn)
    with pytest.raises(ValueError, match="is_task_complete"):
        read_answer('{"user_message": "Hi", "is_task_complete": fal', Turn)
    assert first_json('{"sku": "a", "price": 12', dict) == {"sku": "a"}, "it may have been 129"
    with pytest.raises(ValueError, match="expected a JSON object"):
        first_json('{"price": 12', dict)


def test_valid_json_is_preferred_to_earlier_broken_json() -> None:
    text = 'The form is: {"user_message": <str>, "is_task_complete": <bool>}\n{"user_message": "Hi", "is_task_complete": false}'
    assert read_answer(text, Turn) == Turn(user_message="Hi", is_task_complete=False)
    assert not needs_repair(text)


def test_an_array_is_not_an_object_and_nested_values_are_not_answers() -> None:
    assert first_json('["a", "b",]', list) == ["a", "b"]
    assert first_json("- questions\n['a', \"b's\"]", list) == ["a", "b's"]
    for text in ('{"tools": ["a"]}', '{"tools": ["a"],}'):
        with pytest.raises(ValueError, match="expected a JSON array"):
            first_json(text, list)
    with pytest.raises(ValueError, match="expected a JSON object"):
        first_json('[{"a": 1},]', dict)


ENDLESS = {
    "brackets": "[" * 5_000,
    "records": "[{" * 5_000,
    "objects": '{"a":' * 5_000,
    "quoted brackets": '{"a": ' + '{"' * 20_000,
    "brackets in strings": '{"a": ' + '["a]' * 20_000,
    "prose": "lorem {ipsum " * 80_000,
    "one string": '{"a": "' + "x " * 500_000,
    "quotes": '{"a": "' + '"x ' * 300_000,
    "broken objects": "{'a': 1,}\n" * 100_000,
    "one broken array": "[" + "{'a': 1, 'b': 'x'}, " * 50_000,
    "comments": "{" + "// \n" * 250_000,
    "open lines": "\n{" * 300_000,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_no_text_blocks_the_event_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    repairs: list[str] = []

    class Counting(JSONParser):
        def __init__(self, broken: str, *rest: Any) -> None:
            repairs.append(broken)
            super().__init__(broken, *rest)

    monkeypatch.setattr("generation.llm.parsing.repair.JSONParser", Counting)
    for kind in (dict, list):
        with contextlib.suppress(ValueError):
            first_json(ENDLESS[name], kind)
    assert len(repairs) <= (0 if name in ("brackets", "records", "objects", "quoted brackets") else 200)
    assert all(len(broken) <= 32_000 for broken in repairs)


def test_deep_json_is_parsed_or_rejected_but_never_crashes() -> None:
    for depth in (10, 300, 900, 990, 1_100, 50_000):
        text = '{"a": ' * depth + "1" + "}" * depth
        try:
            value, levels = first_json(text, dict), 0
        except ValueError:
            assert depth > 300
            continue
        while isinstance(value, dict):
            value, levels = value["a"], levels + 1
        assert levels == depth


def test_nan_is_not_json() -> None:
    assert all(math.isfinite(x) for x in first_json('{"a": [1.5, 2]}', dict)["a"])
    assert first_json('{"a": [1.5, NaN]}', dict) == {"a": [1.5, None]}
    assert first_json("{'a': 'NaN'}", dict) == {"a": "NaN"}
