"""Transcripts as the data of a page: an index, and chunks of JSON, gzip, base64, which the browser opens when they are
needed (payload.js)."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Iterator
from typing import Any

from markupsafe import Markup

from core.page.contents import Transcript

CHUNK_TRANSCRIPTS, CHUNK_CHARACTERS = 100, 4_000_000
"""A chunk is closed at whichever it reaches first, so that opening one stays quick."""


def payload_elements(transcripts: Iterable[Transcript]) -> Iterator[Markup]:
    """The chunks, each as soon as it is full, then the index: the number of transcripts in each chunk, and an entry for
    each transcript. Raises ValueError for a key that occurs twice."""
    entries: dict[str, dict[str, Any]] = {}
    counts: list[int] = []
    chunk = _Chunk()
    for transcript in transcripts:
        if chunk.full():
            yield _element(f"ui-chunk-{len(counts)}", chunk.json())
            counts.append(len(chunk.transcripts))
            chunk = _Chunk()
        entry = _entry(transcript)
        if entry["key"] in entries:
            raise ValueError(f"two transcripts have the key {entry['key']!r}")
        entries[entry["key"]] = entry
        chunk.add(transcript)
    if chunk.transcripts:
        yield _element(f"ui-chunk-{len(counts)}", chunk.json())
        counts.append(len(chunk.transcripts))
    yield _element("ui-index", _json({"counts": counts, "entries": list(entries.values())}))


def well_formed(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which neither a file nor an address can hold."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class _Chunk:
    """Transcripts whose equal messages are written once: system prompts, and what forked dialogues share, lie further
    apart than gzip sees."""

    def __init__(self) -> None:
        self.transcripts: list[str] = []
        self._messages: dict[str, int] = {}
        self._characters = 0

    def add(self, transcript: Transcript) -> None:
        fields = transcript.model_dump(exclude_defaults=True)
        fields["messages"] = [self._place(_json(message)) for message in fields.get("messages", ())]
        self.transcripts.append(_json(fields))
        self._characters += len(self.transcripts[-1])

    def full(self) -> bool:
        return len(self.transcripts) == CHUNK_TRANSCRIPTS or self._characters > CHUNK_CHARACTERS

    def json(self) -> str:
        return f'{{"messages":[{",".join(self._messages)}],"transcripts":[{",".join(self.transcripts)}]}}'

    def _place(self, message: str) -> int:
        if message not in self._messages:
            self._messages[message] = len(self._messages)
            self._characters += len(message)
        return self._messages[message]


def _entry(transcript: Transcript) -> dict[str, Any]:
    """What the list shows of a transcript and filters it by."""
    branch = transcript.branch
    entry = {
        "key": well_formed(transcript.key),
        "title": transcript.title,
        "outcome": transcript.outcome,
        "reason": transcript.reason,
        "same_task": well_formed(transcript.same_task),
        "facets": {
            well_formed(name): [well_formed(value) for value in values] for name, values in transcript.facets.items()
        },
        "turns": sum(message.role == "user" for message in transcript.messages),
        "branch": branch and {"parent": well_formed(branch.parent), "shared": branch.shared},
    }
    return {name: value for name, value in entry.items() if value or name == "key"}


def _json(value: Any) -> str:
    """ASCII, in which lone surrogates, which UTF-8 cannot hold, stay what they are."""
    return json.dumps(value, separators=(",", ":"))


def _element(identity: str, text: str) -> Markup:
    data = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
    return Markup(f'<script type="application/octet-stream" id="{identity}">{data}</script>\n')
