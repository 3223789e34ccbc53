"""Which of the user's own tools an assistant's message tells the user to use, by its English words.

An instruction is a clause that begins with a verb ("Please turn off Airplane Mode", "could you check the status bar"),
or a question about what a reading tool shows ("Is data roaming on?"). A clause names a tool if it has the tool's verb,
or a synonym, and all words of the tool's name but the general ones; a reading tool may also be named by what its
description says that it shows. Statements, offers, negations, and orders that name no tool instruct nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from core.typography import fold

READING = ("check", "get", "can", "run", "list", "read", "look", "show", "view")
"""First words of tools that change nothing."""
_VERBS = {
    "check": "check look see tell view read report verify confirm show describe inspect is are does has what which how",
    "can": "try test check see confirm verify are is does",
    "run": "run rerun perform do start repeat take",
    "toggle": "toggle",
    "set": "set change choose select adjust",
    "reset": "reset restore",
    "reseat": "reseat remove reinsert insert eject",
    "reboot": "reboot restart",
    "grant": "grant give allow",
    "make": "make pay",
    "press": "press push hold",
    "replace": "replace swap exchange",
}
_SYNONYMS = {name: frozenset(words.split()) for name, words in _VERBS.items()} | {
    name: frozenset(_VERBS["check"].split()) for name in ("get", "list", "read", "look", "show", "view")
}
_SWITCHED = {"on": ("toggle", "connect", "enable", "open"), "off": ("toggle", "disconnect", "disable", "close")}
"""The tools' verbs that "turn … on" and "turn … off" can stand for."""
_QUESTION_VERBS = frozenset({"is", "are", "does", "do", "has", "what", "which", "how"})
_TURNS = {
    "on": frozenset({"enable", "activate"}),
    "off": frozenset({"disable", "deactivate"}),
    "": frozenset({"turn", "switch", "put"}),
}
_GENERAL = frozenset({"statu", "setting", "mode", "preference", "card", "request", "my", "the", "of"})
_EQUAL = {"phone": "device", "access": "permission", "cell": "cellular"}
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "the a an your my it its is are be been that this to of and or on off in at for with device if whether you any can i",
    )
)
_NO_VALUES = frozenset(
    ("the", "a", "an", "your", "my", "this", "that", "both", "following", "required", "necessary", "its", "default")
)

_OPENERS = re.compile(
    r"^(?:(?:\d+[.)]|[-•*]|please|kindly|then|next|now|first|second|third|also|after that|afterwards|finally|again|and|so"
    r"|okay|ok|great|thanks|thank you|alright|step \d+"
    r"|(?:could|can|would|will) you(?! like)(?! want)|(?:i(?:'d| would) like|i need|i want|i(?:'ll| will) need|i ask) you to"
    r"|you (?:should|must|need to|have to|can|may|will need to|could)|(?:try|go ahead|make sure|be sure)(?: to| and)"
    r"|try|let's|let us|just|simply|quickly|once more|for me)[,:]?\s+)+"
)
_CONDITION = re.compile(r"^(?:if|when|in case|should)\b([^,]*),\s*(?:then\s+)?")
_LATE_CONDITION = re.compile(r"\b(?:if|in case|unless|when)\b")
_NEGATED = re.compile(
    r"^(?:do not|don't|never|no need|there is no need|you (?:do not|don't|need not)|have you|did you|were you)\b"
)
_PURPOSE = re.compile(r"\s(?:to|so|because|in order|as|since|while|before|until)\s|, which\s")
_OFFERS = re.compile(
    r"\b(?:do you want|would you like|shall i|may i|can i|should i|want me to|anything else|let me know)\b"
)


class Instruction(NamedTuple):
    """One use of a tool. `wanted`: the state that a switch is to have, else empty. `arguments` are None if the message
    lacks a value that the tool needs."""

    tool: str
    arguments: dict[str, Any] | None
    wanted: Literal["on", "off", ""] = ""


class _Tool(NamedTuple):
    name: str
    verb: str
    needed: frozenset[str]
    general: frozenset[str]
    description: frozenset[str]
    parameters: Mapping[str, Any]


class _Clause(NamedTuple):
    verb: str
    wanted: Literal["on", "off", ""]
    text: str
    words: tuple[str, ...]
    """The clause's words up to the purpose that it states: "turn on roaming to use data" is about roaming."""


def instructed(message: str, tools: Sequence[Mapping[str, Any]], known: str = "") -> list[Instruction]:
    """The uses that a message asks for, in its order. `tools` are function specs: name, description, parameters.

    Texts with a `pattern` that the message does not give, such as the serial number of the user's device, are taken
    from `known`.
    """
    specs = [_tool(spec) for spec in tools]
    own = [word for tool in specs for word in tool.name.split("_")[: 2 if tool.verb == "can" else 1]]
    verbs = frozenset().union(*_SYNONYMS.values(), *_TURNS.values(), own)
    found: list[Instruction] = []
    subject: tuple[str, ...] = ()
    for clause in _clauses(message, verbs):
        words = (*clause.words, *subject) if {"it", "them"} & {*clause.words} else clause.words
        tool = _named(clause, words, specs) or _named(clause, _words(clause.text), specs)
        tool = tool or _described(clause, words, specs)
        subject = tuple(word for word in clause.words if word not in _FUNCTION_WORDS) or subject
        if tool is None:
            continue
        wanted = clause.wanted if tool.verb == "toggle" else ""
        uses = [Instruction(tool.name, values, wanted) for values in _arguments(tool, clause.text, message, known)]
        found += [use for use in uses if use not in found[-1:]]
    return found


def _tool(spec: Mapping[str, Any]) -> _Tool:
    verb, *rest = spec["name"].casefold().split("_")
    words = frozenset(map(_stem, rest)) or frozenset({_stem(verb)})
    needed = words - _GENERAL - _FUNCTION_WORDS or words - _FUNCTION_WORDS or words
    description = frozenset(_words(str(spec.get("description") or ""))) - _FUNCTION_WORDS
    return _Tool(spec["name"], verb, needed, words - needed, description, spec.get("parameters") or {})


def _clauses(message: str, verbs: frozenset[str]) -> Iterator[_Clause]:
    plain = (
        re.sub(r"[ \t*`#>\"“”]+", " ", fold(message).casefold()).replace("wi-fi", "wifi").replace("re-seat", "reseat")
    )
    some = "|".join(map(re.escape, sorted(verbs - _QUESTION_VERBS)))
    further = rf"(?=(?:please |then |also )*(?:{some})\b)"
    for sentence in re.split(r"(?<=[.!?:;])\s+|\n+", plain):
        if _OFFERS.search(sentence):
            continue
        asked = sentence.rstrip().endswith("?")
        condition = _CONDITION.match(_OPENERS.sub("", sentence))
        parts = re.split(rf",?\s+(?:and|then|and then)\s+{further}|,\s+{further}", sentence)
        for part in [sentence] if condition else parts:
            yield from _clause(part.strip(), asked, verbs)


def _clause(text: str, asked: bool, verbs: frozenset[str]) -> Iterator[_Clause]:
    condition = _CONDITION.match(_OPENERS.sub("", text))
    body = _OPENERS.sub("", text)
    if condition:
        body = _OPENERS.sub("", body[condition.end() :])
    if not body or _NEGATED.match(body):
        return
    core = _PURPOSE.split(f"{body} ", maxsplit=1)[0]
    words = _words(core)
    verb = re.match(r"[a-z]+", body)
    if not verb or verb[0] not in verbs or (verb[0] in _QUESTION_VERBS and not asked):
        return
    wanted = _wanted(verb[0], core)
    late = verb[0] not in _SYNONYMS["check"] and _LATE_CONDITION.search(body)
    if (condition or late) and not wanted:
        return  # whether the condition holds, only the user's look-ups could tell
    if condition:
        words = (*words, *_words(condition[1]))
    yield _Clause(verb[0], wanted, body, words)


def _wanted(verb: str, text: str) -> Literal["on", "off", ""]:
    if verb in _TURNS["on"]:
        return "on"
    if verb in _TURNS["off"]:
        return "off"
    states = re.findall(r"\b(on|off)\b", text)
    return states[0] if verb in (*_TURNS[""], "toggle", "set") and len(set(states)) == 1 else ""


def _named(clause: _Clause, words: Sequence[str], tools: Sequence[_Tool]) -> _Tool | None:
    """The tool with most of its words in the clause; of equals the one named last: "data roaming" is roaming."""
    best: tuple[int, int] = (0, 0)
    named = None
    for tool in tools:
        if not _fits_verb(clause, tool) or not all(_position(word, words) for word in tool.needed):
            continue
        matched = sum(_position(word, words) > 0 for word in tool.needed | tool.general)
        score = (matched, max(_position(word, words) for word in tool.needed))
        if score > best:
            best, named = score, tool
    return named


def _fits_verb(clause: _Clause, tool: _Tool) -> bool:
    if clause.verb in _SYNONYMS.get(tool.verb, ()) or clause.verb == tool.verb or clause.verb in tool.name.split("_"):
        return True
    turned = any(clause.verb in verbs for verbs in _TURNS.values())
    return turned and (tool.verb in _SWITCHED[clause.wanted] if clause.wanted else tool.verb == "toggle")


def _described(clause: _Clause, words: Sequence[str], tools: Sequence[_Tool]) -> _Tool | None:
    """The reading tool whose description has most of the clause's words, at least two; of equals the one that shows
    least else."""
    if clause.verb not in _SYNONYMS["check"]:
        return None
    content = {word for word in words if word not in _FUNCTION_WORDS and word != clause.verb}
    scored = [
        (len(content & tool.description), -len(tool.description), tool.name, tool)
        for tool in tools
        if tool.verb in READING and not tool.parameters.get("required")
    ]
    best = max(scored, default=None)
    return best[-1] if best and best[0] >= 2 else None


def _position(word: str, words: Sequence[str]) -> int:
    """The last place of a word, counted from 1, also as part of a longer one ("pay" of "payment"); 0 if missing."""
    return max((i for i, other in enumerate(words, 1) if _same(word, other)), default=0)


def _same(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return one == other or (
        len(short) >= 3 and short not in ("set", "app") and long.startswith(short) and len(long) - len(short) >= 4
    )


def _words(text: str) -> tuple[str, ...]:
    plain = fold(text).casefold().replace("wi-fi", "wifi")
    return tuple(_stem(word) for word in re.findall(r"[a-z0-9]+", plain))


def _stem(word: str) -> str:
    singular = word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
    return _EQUAL.get(singular, singular)


def speaks_of(message: str, tool: str) -> bool:
    """Whether a message names a tool, in whatever form of sentence: it has all words of its name but the verb and the
    general ones."""
    words = _words(message)
    return all(_position(word, words) for word in _tool({"name": tool}).needed)


def _arguments(tool: _Tool, text: str, message: str, known: str) -> list[dict[str, Any] | None]:
    """The arguments of each use: one per combination of the values that the clause gives; [None] if one is missing."""
    combined: list[dict[str, Any]] = [{}]
    properties = tool.parameters.get("properties") or {}
    for name in tool.parameters.get("required") or list(properties):
        schema = properties[name]
        values = _values(name, schema, tool.parameters, text)
        if pattern := schema.get("pattern"):
            values = _matching(pattern, message, text) or _matching(pattern, known, known.casefold())
        if not values:
            return [None]
        combined = [arguments | {name: value} for arguments in combined for value in values]
    return [*combined]


def _values(name: str, schema: Mapping[str, Any], parameters: Mapping[str, Any], text: str) -> list[Any]:
    choices = _choices(schema, parameters)
    spoken = _spoken(text)
    if choices:
        named = [choice for choice in choices if f" {_spoken(choice)} " in f" {spoken} "]
        return [choice for choice in named if not any(choice != o and _spoken(choice) in _spoken(o) for o in named)]
    if schema.get("type") == "integer":
        return [int(number) for number in re.findall(r"\b\d+\b", text)[:1]]
    if schema.get("type") == "boolean":
        return [state == "on" for state in re.findall(r"\b(on|off)\b", text)[:1]]
    if schema.get("type") != "string":
        return []
    noun = name.removesuffix("_name").split("_")[-1]
    before = re.search(rf"\b(\w+(?:(?:,? and |, | & |/)\w+)*) {noun}s?\b", text)
    after = re.search(rf"\b{noun}s?:? (?:is |for |named |called |to use )?(\w+)", text)
    for match in (before, after):
        words = re.split(r",? and |, | & |/", match[1]) if match else []
        if values := [word for word in words if word not in _NO_VALUES]:
            return values
    return []


def _matching(pattern: str, message: str, clause: str) -> list[str]:
    """The words of a message that match, those of the clause if it has any; several leave it open which is meant."""
    found = list(dict.fromkeys(word for word in re.findall(r"[\w-]+", message) if re.search(pattern, word)))
    here = [word for word in found if word.casefold() in clause]
    chosen = here or found
    return chosen if len(chosen) == 1 else []


def _choices(schema: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[str]:
    """The values that a schema lists, also behind references and alternatives."""
    if reference := schema.get("$ref"):
        return _choices(parameters.get("$defs", {}).get(reference.rpartition("/")[2], {}), parameters)
    if "enum" in schema:
        return [value for value in schema["enum"] if isinstance(value, str)]
    return [choice for part in schema.get("anyOf") or () for choice in _choices(part, parameters)]


def _spoken(value: str) -> str:
    """As it would be said: "4g_5g_preferred" and "4G/5G (preferred)" are equal."""
    return " ".join(re.findall(r"[a-z0-9]+", value.casefold()))


def as_call(instruction: Instruction) -> dict[str, str]:
    """The function part of an OpenAI tool call."""
    return {"name": instruction.tool, "arguments": json.dumps(instruction.arguments or {}, ensure_ascii=False)}
