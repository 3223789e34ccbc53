"""Which tool a clause names: the one whose verb and words it has, or, of those that show something, the one whose
description it fits best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from generation.utterances.clauses import Clause
from generation.utterances.stems import FUNCTION_WORDS, stem, stems
from generation.utterances.tool_verbs import READING, SWITCHED, SYNONYMS, TURNS

_GENERAL = frozenset({"statu", "setting", "mode", "preference", "card", "request", "my", "the", "of"})
"""Words of tools' names that a message may leave out, as stems."""


class ToolWords(NamedTuple):
    """The words by which a tool can be recognised: all `needed` ones of its name, more surely with its `general` ones,
    or those of its `description`."""

    name: str
    verb: str
    needed: frozenset[str]
    general: frozenset[str]
    description: frozenset[str]
    parameters: dict[str, Any]


def tool_words(spec: Mapping[str, Any]) -> ToolWords:
    """Of a function spec: name, description, parameters."""
    verb, *rest = spec["name"].casefold().split("_")
    words = frozenset(map(stem, rest)) or frozenset({stem(verb)})
    needed = words - _GENERAL - FUNCTION_WORDS or words - FUNCTION_WORDS or words
    description = frozenset(stems(str(spec.get("description") or ""))) - FUNCTION_WORDS
    return ToolWords(spec["name"], verb, needed, words - needed, description, spec.get("parameters") or {})


def tool_named(clause: Clause, words: Sequence[str], tools: Sequence[ToolWords]) -> ToolWords | None:
    """The tool with most of its words in the clause; of equals the one named last: "data roaming" is roaming."""
    best: tuple[int, int] = (0, 0)
    named: ToolWords | None = None
    for tool in tools:
        if not _fits_verb(clause, tool) or not has_name(words, tool):
            continue
        matched = sum(_position(word, words) > 0 for word in tool.needed | tool.general)
        score = (matched, max(_position(word, words) for word in tool.needed))
        if score > best:
            best, named = score, tool
    return named


def _fits_verb(clause: Clause, tool: ToolWords) -> bool:
    if clause.verb in SYNONYMS.get(tool.verb, ()) or clause.verb == tool.verb or clause.verb in tool.name.split("_"):
        return True
    turned = any(clause.verb in verbs for verbs in TURNS.values())
    return turned and (tool.verb in SWITCHED[clause.wanted] if clause.wanted else tool.verb == "toggle")


def tool_described(clause: Clause, words: Sequence[str], tools: Sequence[ToolWords]) -> ToolWords | None:
    """The reading tool whose description has most of the clause's words, at least two; of equals the one that shows
    least else."""
    if clause.verb not in SYNONYMS["check"]:
        return None
    content = {word for word in words if word not in FUNCTION_WORDS and word != clause.verb}
    scored = [
        (len(content & tool.description), -len(tool.description), tool.name, tool)
        for tool in tools
        if tool.verb in READING and not tool.parameters.get("required")
    ]
    best = max(scored, default=None)
    return best[-1] if best and best[0] >= 2 else None


def has_name(words: Sequence[str], tool: ToolWords) -> bool:
    """Whether the words have all that the tool's name needs."""
    return all(_position(word, words) for word in tool.needed)


def _position(word: str, words: Sequence[str]) -> int:
    """The last place of a word, counted from 1, also as part of a longer one ("pay" of "payment"); 0 if missing."""
    return max((i for i, other in enumerate(words, 1) if _same(word, other)), default=0)


def _same(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return one == other or (
        len(short) >= 3 and short not in ("set", "app") and long.startswith(short) and len(long) - len(short) >= 4
    )
