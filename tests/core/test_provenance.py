"""Provenance: typed in memory, one JSON string on disk, and keys of other projects survive."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from core.provenance import Provenance, WriterRequest

EARLIER = Provenance(
    llm="first",
    database_sha256="0a1b",
    writer_requests={"d/t0": WriterRequest(difficulty="hard", follow_up=False)},
    refused_drafts={},
    foreign={"mood": "calm", "none": None},
)
UNASKED = {"kind": "plain", "evidence_rows": 0, "targets": []}


def test_it_comes_back_from_its_string_with_the_fields_that_were_set() -> None:
    text = EARLIER.model_dump()
    assert json.loads(text) == {
        "mood": "calm",
        "none": None,
        "llm": "first",
        "database_sha256": "0a1b",
        "writer_requests": {"d/t0": {"difficulty": "hard", "follow_up": False} | UNASKED},
        "refused_drafts": {},
    }
    assert Provenance.model_validate(text) == Provenance.model_validate(json.loads(text)) == EARLIER


def test_a_key_that_only_looks_like_ours_survives() -> None:
    for text in ('{"foreign": 3}', '{"foreign": {"llm": 1}, "other": [1]}', "{}"):
        assert json.loads(Provenance.model_validate(text).model_dump()) == json.loads(text)


def test_what_was_set_later_wins_even_if_it_is_none() -> None:
    merged = EARLIER | Provenance(llm="second", database_sha256=None, foreign={"mood": "cross"})
    assert (merged.llm, merged.database_sha256, merged.foreign) == ("second", None, {"mood": "cross", "none": None})
    assert merged.writer_requests == EARLIER.writer_requests
    assert "database_sha256" not in json.loads(merged.model_dump())


@pytest.mark.parametrize("text", ["[]", "no JSON", '{"refused_drafts": 3}', '{"persona": ["terse"]}'])
def test_what_cannot_be_provenance_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Provenance.model_validate(text)
