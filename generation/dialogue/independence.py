"""Whether a call was written without the result of another one: nothing in it first appears there.

Strict on purpose, since a call that is wrongly taken for independent would teach a model to guess: every argument must
have been stated before both calls, and neither the arguments nor the words around the call may state, in any spelling,
what the other result alone says, or speak of results at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from core.typography import fold
from generation.specs.json_values import json_or_text, leaves
from generation.specs.naming import is_identifier
from generation.tasks.mentions import literals, mentions_value, states

_WORD = re.compile(r"[^\W_]+")
_SPEAKS_OF_RESULTS = re.compile(
    r"\b(?:results?|returned|response|output|found|shows?|showed|got|retrieved|now that|previous|earlier|above"
    r"|tried|retry|again|instead|errors?|fail(?:ed|s)?|mistyped|empty|nothing|no (?:match|row|record)\w*|did(?:n't| not)"
    r"|worked|done|exists?|belongs?|left|enough|good|great|fine|as expected|turn(?:s|ed) out|(?:it|that|there) (?:is|are|was)"
    r"|geklappt|vorhanden)\b",
    re.IGNORECASE,
)
_SHORT = 3
"""Texts of fewer characters, like numbers, are said by chance, of something else."""


@dataclass(frozen=True)
class Round:
    """An assistant message with calls, at index `position`, and their results in the order of the calls."""

    position: int
    message: AssistantMessage
    results: tuple[ToolMessage, ...]

    @property
    def end(self) -> int:
        """The index of the message after the last result."""
        return self.position + 1 + len(self.results)

    @property
    def calls(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        return tuple((call.name, call.parsed()) for call in self.message.tool_calls or ())

    @property
    def words_around(self) -> str:
        return f"{self.message.content}\n{self.message.reasoning_content or ''}"


def rounds(dialogue: Dialogue, start: int) -> Iterator[Round]:
    """The rounds of tool use from message `start` on, in a dialogue that keeps the message contract."""
    for position, message in enumerate(dialogue.messages):
        if position >= start and isinstance(message, AssistantMessage) and message.tool_calls:
            following = dialogue.messages[position + 1 : position + 1 + len(message.tool_calls)]
            by_id = {result.tool_call_id: result for result in following if isinstance(result, ToolMessage)}
            yield Round(position, message, tuple(by_id[call.id] for call in message.tool_calls))


class Knowledge:
    """What had been said, called and returned before message `position` of a dialogue."""

    def __init__(self, dialogue: Dialogue, position: int) -> None:
        self._messages = dialogue.messages[:position]
        self._specs = {tool.name: json.dumps(tool.openai(), ensure_ascii=False) for tool in dialogue.tools_at(position)}

    @cached_property
    def text(self) -> str:
        """All contents and arguments."""
        return "\n".join(_texts(self._messages))

    @cached_property
    def words(self) -> set[str]:
        """All words, those of the agent's thoughts and of the tools' specs too."""
        thoughts = (m.reasoning_content or "" for m in self._messages if isinstance(m, AssistantMessage))
        return _words("\n".join([self.text, *thoughts, *self._specs.values()]))

    @cached_property
    def wishes(self) -> str:
        """All that the user said."""
        return "\n".join(message.content for message in self._messages if isinstance(message, UserMessage))

    def states(self, tool: str, value: str) -> bool:
        return states(self.text, value) or mentions_value(self._specs.get(tool, ""), value)


def is_independent(later: Round, earlier: Sequence[Round], known: Knowledge) -> bool:
    """Whether the round `later` uses and states nothing of the results of the rounds `earlier`, before which `known`
    was known."""
    called = [call for each in earlier for call in each.calls]
    if any(call in called for call in later.calls) or _SPEAKS_OF_RESULTS.search(later.words_around):
        return False
    results = [json_or_text(result.content) for each in earlier for result in each.results]
    written = "\n".join([later.words_around, *(c.function.arguments for c in later.message.tool_calls or ())])
    said = known.words | _words("\n".join(each.words_around for each in earlier)) | _words(repr(called))
    if _words(written) & (_words("\n".join(r.content for e in earlier for r in e.results)) - said):
        return False
    if any(not known.states("", text) and mentions_value(written, text) for text in literals(results)):
        return False
    return all(_is_given(*leaf, tool, results, earlier, known) for tool, args in later.calls for leaf in leaves(args))


def _is_given(
    field: str, value: Any, tool: str, results: Sequence[Any], earlier: Sequence[Round], known: Knowledge
) -> bool:
    """Whether an argument was stated before the earlier calls. One that their results contain too may come from there,
    unless the user said it, or the earlier calls had it as the same argument."""
    if value is None or isinstance(value, bool):
        return True
    text = value if isinstance(value, str) else repr(value)
    if not known.states(tool, text):
        return False
    if _key(value) not in {_key(leaf) for _, leaf in leaves(list(results))}:
        return True
    by_chance = is_identifier(field) and (not isinstance(value, str) or len(text) < _SHORT or text.isdigit())
    arguments = {(name, _key(leaf)) for each in earlier for _, args in each.calls for name, leaf in leaves(args)}
    return (field, _key(value)) in arguments or (not by_chance and states(known.wishes, text))


def _texts(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        yield message.content
        for call in message.tool_calls or () if isinstance(message, AssistantMessage) else ():
            yield call.function.arguments


def _words(text: str) -> set[str]:
    return set(_WORD.findall(fold(text).casefold()))


def _key(value: Any) -> str:
    """Equal for equal scalars: 7, 7.0 and "7"."""
    text = fold(str(value)).casefold()
    try:
        return repr(float(text))
    except ValueError:
        return text
