"""Answers that the token limit cut off: what is complete is read, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.llm.parsing.json_text import complete_part

RECORDS = st.lists(
    st.fixed_dictionaries({"name": st.text(), "n": st.integers(), "tags": st.lists(st.text())}), min_size=1, max_size=4
)


@given(records=RECORDS, data=st.data(), wrapper=st.sampled_from(["{}", '{{"tools": {}}}', "```json\n{}\n```"]))
def test_the_complete_records_of_an_array_are_kept_wherever_it_was_cut(
    records: list[dict[str, Any]], data: st.DataObject, wrapper: str
) -> None:
    text = wrapper.format(json.dumps(records))
    cut = data.draw(st.integers(0, len(text)))
    part = complete_part(text[:cut])
    kept = json.loads(part) if part else []
    kept = kept["tools"] if isinstance(kept, dict) else kept
    assert kept == records[: len(kept)]
    ends = [text.index(json.dumps(records)) + len(json.dumps(records[: n + 1])) - 1 for n in range(len(records))]
    assert len(kept) == sum(cut >= end for end in ends), "every record that ends before the cut"


@given(record=st.fixed_dictionaries({"a": st.text(), "b": st.integers(), "c": st.booleans()}), data=st.data())
def test_a_single_object_is_complete_or_nothing(record: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(record)
    cut = data.draw(st.integers(0, len(text)))
    assert complete_part(text[:cut]) == ("" if cut < len(text) else text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('Here you are: {"a": 1} and now I', '{"a": 1}'),
        ('["one question", "another", "a thi', '["one question", "another"]'),
        ('See [1]. {"a": 1} The', '{"a": 1}'),
        ('{"bullets": [{"x": 1}, {"x":', '[{"x": 1}]'),
        ('{"goal": "g", "plan": [], "crit', ""),
        ('{"a": 1', ""),
        ("[1, 2, 3", ""),
        ("no JSON at all", ""),
        ("", ""),
        ("[" * 50_000, ""),
    ],
)
def test_what_counts_as_complete(text: str, part: str) -> None:
    assert complete_part(text) == part
