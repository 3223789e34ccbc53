"""Which of the user's own tools an assistant's message tells the user to use, by its English words.

An instruction is a clause that begins with a verb ("Please turn off Airplane Mode", "could you check the status bar"),
or a question about what a reading tool shows ("Is data roaming on?"). A clause names a tool if it has the tool's verb,
or a synonym, and all words of the tool's name but the general ones; a reading tool may also be named by what its
description says that it shows. Statements, offers, negations, and orders that name no tool instruct nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from generation.utterances.clauses import clauses_of
from generation.utterances.named_tools import has_name, tool_described, tool_named, tool_words
from generation.utterances.stated_arguments import stated_arguments
from generation.utterances.stems import FUNCTION_WORDS, stems
from generation.utterances.tool_verbs import SYNONYMS, TURNS


class Instruction(NamedTuple):
    """One use of a tool. `wanted`: the state that a switch is to have, else empty. `arguments` are None if the message
    lacks a value that the tool needs."""

    tool: str
    arguments: dict[str, Any] | None
    wanted: Literal["on", "off", ""] = ""


def instructed(message: str, tools: Sequence[Mapping[str, Any]], known: str = "") -> list[Instruction]:
    """The uses that a message asks for, in its order. `tools` are function specs: name, description, parameters.

    Texts with a `pattern` that the message does not give, such as the serial number of the user's device, are taken
    from `known`.
    """
    candidates = [tool_words(spec) for spec in tools]
    first_words = [word for tool in candidates for word in tool.name.split("_")[: 2 if tool.verb == "can" else 1]]
    verbs = frozenset().union(*SYNONYMS.values(), *TURNS.values(), first_words)
    instructions: list[Instruction] = []
    subject: tuple[str, ...] = ()
    for clause in clauses_of(message, verbs):
        words = (*clause.words, *subject) if {"it", "them"} & {*clause.words} else clause.words
        tool = tool_named(clause, words, candidates) or tool_named(clause, stems(clause.text), candidates)
        tool = tool or tool_described(clause, words, candidates)
        subject = tuple(word for word in clause.words if word not in FUNCTION_WORDS) or subject
        if tool is None:
            continue
        wanted = clause.wanted if tool.verb == "toggle" else ""
        stated = stated_arguments(tool.parameters, clause.text, message, known)
        uses = [Instruction(tool.name, arguments, wanted) for arguments in stated]
        instructions += [use for use in uses if use not in instructions[-1:]]
    return instructions


def speaks_of(message: str, tool: str) -> bool:
    """Whether a message names a tool, in whatever form of sentence: it has all words of its name but the verb and the
    general ones."""
    return has_name(stems(message), tool_words({"name": tool}))


def as_call(instruction: Instruction) -> dict[str, str]:
    """The function part of an OpenAI tool call."""
    return {"name": instruction.tool, "arguments": json.dumps(instruction.arguments or {}, ensure_ascii=False)}
