"""What a simulated user did wrong in a dialogue, by rule: each function finds the faults of one kind.

Invented names are not seen, since no rule tells a name from other words; a wish in quite other words than the goal's counts as not
said. The rules therefore serve for shares of a dataset (generation/quality.py), not for the rejection of one dialogue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from core.dialogue import Dialogue, Task
from core.messages import AssistantMessage, Frozen, UserMessage
from generation.llm.contexts import UserRules
from generation.tasks.mentions import Knowledge, facts, literals, states

Figure = Literal["premature_ends", "leaked_goals", "invented_facts", "crowded_messages", "repeated_messages"]


class Fault(Frozen):
    """One thing that a user did wrong. `position` is the message's index in Dialogue.messages; for a premature end that of the
    task's last message."""

    figure: Figure
    position: int
    detail: str


@dataclass(frozen=True)
class Part:
    """One played task: where its messages begin and end, whether the user ended it, what the user said in it by position, and
    what stood there already before this dialogue was made."""

    task: Task
    start: int
    end: int
    ended: bool
    said: dict[int, str]
    given: tuple[str, ...]


def parts_of(dialogue: Dialogue) -> list[Part]:
    """The tasks that were played, in order. What is not `said` is not judged."""
    ends = [*dialogue.task_starts[1:], len(dialogue.messages)]
    parts = []
    for number, (task, start, end) in enumerate(zip(dialogue.tasks, dialogue.task_starts, ends, strict=False)):
        spoken = {
            position: message.content
            for position, message in enumerate(dialogue.messages[start:end], start)
            if isinstance(message, UserMessage)
        }
        said = {position: text for position, text in spoken.items() if position >= dialogue.given}
        given = tuple(text for position, text in spoken.items() if position < dialogue.given)
        ended = number + 1 < len(dialogue.task_starts) or dialogue.stop == "complete"
        parts.append(Part(task, start, end, ended, said, given))
    return parts


def _reading(dialogue: Dialogue, parts: Sequence[Part]) -> Iterator[tuple[Part, int, str, list[str]]]:
    """Each judged message with what its writer has read since the one before: goals, the assistant's words, all that was given."""
    news = [dialogue.provenance.persona or ""]
    read = 0
    for part in parts:
        news.append(part.task.goal)
        for position, text in part.said.items():
            for number, message in enumerate(dialogue.messages[read:position], read):
                is_answer = isinstance(message, AssistantMessage) and not message.tool_calls
                if is_answer or (isinstance(message, UserMessage) and number < dialogue.given):
                    news.append(message.content)
            read = position
            yield part, position, text, news
            news = []


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def plain(text: str) -> str:
    """The words of a message without case, spacing and punctuation."""
    return " ".join(_words(text))


# Leaves too early.

_OFFER = re.compile(
    r"\b(any|some)thing (else|more)\b|\b(further|more|other) (help|assistance|questions|requests)\b|\balso\b|\bas well\b"
    r"|\bhelp (you )?(with|further)\b",
    re.IGNORECASE,
)
"""Offers of more help need no answer before a goodbye."""
_DECLINED = re.compile(r"\b(no|not|never|nothing)\b|n't\b", re.IGNORECASE)
_LONGEST_LITERAL = 6
"""Words. Longer texts (a note, a description) are put in other words by people, too."""


def _needed(task: Task, subgoal: int | None = None) -> list[str]:
    """The values that the task's calls use and its goal states: what the user has to give."""
    calls = [call for call in task.plan or task.gold_calls if subgoal is None or call.subgoal == subgoal]
    found = dict.fromkeys(value for call in calls for value in literals(call.arguments))
    return [value for value in found if len(value.split()) <= _LONGEST_LITERAL and states(task.goal, value)]


def premature_ends(dialogue: Dialogue, parts: Sequence[Part]) -> Iterator[Fault]:
    """The user left though it never said something that its goal needs, or though it had been asked something. What the
    assistant said before the task counts as said: "that appointment" is enough then."""
    for part in parts:
        if not part.ended or not part.said:
            continue
        spoken = [m.content for m in dialogue.messages[: part.end] if isinstance(m, UserMessage)]
        spoken += [m.content for m in dialogue.messages[: part.start] if isinstance(m, AssistantMessage)]
        text = "\n".join(spoken)
        if missing := [value for value in _needed(part.task) if not states(text, value)]:
            yield _premature(part, f"it never said {', '.join(missing)}")
        messages = dialogue.messages[part.start : part.end]
        closing = messages[-1].content if isinstance(messages[-1], UserMessage) else ""
        answers = [m.content for m in messages if isinstance(m, AssistantMessage) and not m.tool_calls]
        question = _question(answers[-1]) if answers else ""
        if question and not _DECLINED.search(closing):
            yield _premature(part, f"it did not answer: {question}")


def _premature(part: Part, why: str) -> Fault:
    return Fault(figure="premature_ends", position=part.end - 1, detail=f"the user ended the task, but {why}")


def _question(answer: str) -> str:
    """The question among an answer's last two sentences, unless it only offers more help."""
    last = re.split(r"(?<=[.!?])\s+", answer.strip())[-2:]
    asked = [sentence for sentence in last if sentence.endswith("?")]
    return asked[-1] if asked and not any(_OFFER.search(sentence) for sentence in asked) else ""


# Says what it should not know, or not say.

_META = re.compile(r"\b(?:goals?|sub-?goals?|sub-?tasks?|simulat\w*|role-?play\w*|personas?)\b", re.IGNORECASE)
_THIRD_PERSON = re.compile(r"\bthe user (?:also )?(?:wants|needs to|would like)\b", re.IGNORECASE)
_RECITED_WORDS = 10
"""So many of the goal's words in a row, not counting those of its subgoals, are no longer the user's own."""
_FRAME_WORDS = 4
"""With so many words beside its subgoals a whole sentence is the goal's ("The user wants to …"), not merely a wish."""


def leaked_goals(dialogue: Dialogue, parts: Sequence[Part], rules: UserRules) -> Iterator[Fault]:
    """The user recites its goal, speaks of goals and simulations, or uses names that only the machinery knows: tools, their
    parameters, the keys of its own answers. Words that its goal or the assistant used are free."""
    names = {name for tool in dialogue.tools for name in (tool.name, *tool.parameters.get("properties", {}))}
    hidden = {name for name in names if "_" in name or re.search(r"[a-z][A-Z]", name)}
    hidden |= {"user_message", "is_task_complete"}
    everything = rules.disclosure == "upfront" and rules.max_subtasks_per_turn is None
    known: set[str] = set()
    for part, position, text, news in _reading(dialogue, parts):
        known.update(word for new in news for word in _words(new))
        named = [word for word in re.findall(r"\w+", text) if word in hidden and word.casefold() not in known]
        said = [found for found in _META.findall(text) if not _is_known(found, known)] + _THIRD_PERSON.findall(text)
        recited = _Goal(part.task).recited(text, everything)
        for what in [*named[:1], *said[:1], *([recited] if recited else [])]:
            yield Fault(figure="leaked_goals", position=position, detail=f"the user says: {what}")


def _is_known(found: str, known: set[str]) -> bool:
    return all({word, f"{word}s", word.removesuffix("s")} & known for word in _words(found))


class _Goal:
    """A goal's words, and which of them belong to its subgoals."""

    def __init__(self, task: Task) -> None:
        self.words = _words(task.goal)
        self.sentences = [_words(sentence) for sentence in re.split(r"(?<=[.!?])\s+", task.goal)]
        self.covered = [False] * len(self.words)
        for phrase in map(_words, task.subgoals):
            for start in _places(phrase, self.words):
                self.covered[start : start + len(phrase)] = [True] * len(phrase)

    def recited(self, text: str, everything: bool) -> str:
        """The words that `text` takes over from the goal beyond asking for subgoals, or ''. Who may say `everything` at once may
        say long parts of it."""
        words = _words(text)
        for sentence in self.sentences:
            start = next(_places(sentence, self.words), 0)
            if self._own(start, len(sentence)) >= _FRAME_WORDS and any(True for _ in _places(sentence, words)):
                return " ".join(sentence)
        if not everything:
            for block in SequenceMatcher(None, self.words, words, autojunk=False).get_matching_blocks():
                if self._own(block.a, block.size) >= _RECITED_WORDS:
                    return " ".join(self.words[block.a : block.a + block.size])
        return ""

    def _own(self, start: int, length: int) -> int:
        return self.covered[start : start + length].count(False)


def _places(part: Sequence[str], whole: Sequence[str]) -> Iterator[int]:
    """Where `part` stands in `whole`, word for word."""
    for start in range(len(whole) - len(part) + 1 if part else 0):
        if whole[start : start + len(part)] == part:
            yield start


def invented_facts(dialogue: Dialogue, parts: Sequence[Part]) -> Iterator[Fault]:
    """Numbers, dates, times, addresses and identifiers that stand neither in the user's goals nor in what it has heard."""
    known = Knowledge()
    for _, position, text, news in _reading(dialogue, parts):
        for new in news:
            known.learn(new)
        if invented := [fact.text for fact in facts(text) if not known.knows(fact)]:
            detail = f"the user cannot know {', '.join(dict.fromkeys(invented))}"
            yield Fault(figure="invented_facts", position=position, detail=detail)
        known.learn(text)


# Keeps no measure.


def crowded_messages(parts: Sequence[Part], rules: UserRules) -> Iterator[Fault]:
    """More subtasks first voiced in one message than the rule allows. A subtask is voiced when its phrase is said, or else when
    the last of the values is that it alone needs; one with neither cannot be counted."""
    for part in parts if rules.max_subtasks_per_turn is not None else ():
        own = _own_values(part.task)
        so_far = "\n".join(part.given)
        voiced = _voiced(part.task, own, so_far)
        for position, text in part.said.items():
            so_far = f"{so_far}\n{text}"
            now = _voiced(part.task, own, so_far)
            if len(now - voiced) > (rules.max_subtasks_per_turn or 0):
                detail = f"the user asks for {len(now - voiced)} things at once, at most {rules.max_subtasks_per_turn} allowed"
                yield Fault(figure="crowded_messages", position=position, detail=detail)
            voiced |= now


def _own_values(task: Task) -> list[set[str]]:
    """For each subgoal the needed values that no other subgoal needs."""
    needed = [set(_needed(task, number)) for number in range(len(task.subgoals))]
    return [
        values - {value for other, others in enumerate(needed) if other != number for value in others}
        for number, values in enumerate(needed)
    ]


def _voiced(task: Task, own: Sequence[set[str]], text: str) -> set[int]:
    said = f" {plain(text)} "
    return {
        number
        for number, (phrase, values) in enumerate(zip(task.subgoals, own, strict=True))
        if f" {plain(phrase)} " in said or (values and all(states(text, value) for value in values))
    }


_SHORT = 5
"""Messages of fewer words ("Yes, please go ahead.") may come again, unless it is in answer to the same words."""


def repeated_messages(dialogue: Dialogue, parts: Sequence[Part]) -> Iterator[Fault]:
    """The same message again, whatever its case and punctuation."""
    seen: dict[str, set[str]] = {}
    for part in parts:
        for position, text in part.said.items():
            message, before = plain(text), plain(dialogue.messages[position - 1].content if position else "")
            earlier = seen.setdefault(message, set())
            if earlier and (before in earlier or len(message.split()) >= _SHORT):
                detail = f"the user says again: {text}"
                yield Fault(figure="repeated_messages", position=position, detail=detail)
            earlier.add(before)
