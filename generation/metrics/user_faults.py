"""Rule-based detection of a simulated user's faults in a dialogue: one function for each kind of fault.

Invented names go undetected, since no rule tells a name from other words; a wish phrased in entirely different words
than the goal's counts as unspoken. The rules therefore measure shares of a dataset (user_quality.py) and reject no
single dialogue.
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
from generation.tasks.facts import Knowledge, facts
from generation.tasks.mentions import literals, states

FaultKind = Literal["premature_ends", "leaked_goals", "invented_facts", "crowded_messages", "repeated_messages"]


class Fault(Frozen):
    """One fault of a user. `position` is the index of its message in Dialogue.messages; for a premature end, of the
    task's last message."""

    kind: FaultKind
    position: int
    detail: str


@dataclass(frozen=True)
class PlayedTask:
    """One played task: the range of its messages, whether the user ended it, the user's generated messages by position,
    and the user's messages imported from a start state."""

    task: Task
    start: int
    end: int
    ended_by_user: bool
    user_texts: dict[int, str]
    imported_texts: tuple[str, ...]


def played_tasks(dialogue: Dialogue) -> list[PlayedTask]:
    """The tasks that were played, in order. Only their `user_texts` are checked."""
    ends = [*dialogue.task_starts[1:], len(dialogue.messages)]
    tasks = []
    for number, (task, start, end) in enumerate(zip(dialogue.tasks, dialogue.task_starts, ends, strict=False)):
        texts = {
            position: message.content
            for position, message in enumerate(dialogue.messages[start:end], start)
            if isinstance(message, UserMessage)
        }
        user_texts = {position: text for position, text in texts.items() if position >= dialogue.given}
        imported = tuple(text for position, text in texts.items() if position < dialogue.given)
        ended = number + 1 < len(dialogue.task_starts) or dialogue.stop == "complete"
        tasks.append(PlayedTask(task, start, end, ended, user_texts, imported))
    return tasks


def _with_news(dialogue: Dialogue, tasks: Sequence[PlayedTask]) -> Iterator[tuple[PlayedTask, int, str, list[str]]]:
    """(played task, position, text, news) for each checked message; news is what the user has read since its previous
    message: goals, the assistant's answers, what its own tools showed, imported messages."""
    news = [dialogue.provenance.persona or ""]
    read = 0
    for played in tasks:
        news += [played.task.goal, played.task.first_wish]
        for position, text in played.user_texts.items():
            for number, message in enumerate(dialogue.messages[read:position], read):
                is_answer = isinstance(message, AssistantMessage) and not message.tool_calls
                if is_answer or (isinstance(message, UserMessage) and number < dialogue.given):
                    news.append(message.content)
            read = position
            seen = [action.result for action in dialogue.user_actions if action.message == position]
            yield played, position, text, [*news, *seen]
            news = []


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def plain_words(text: str) -> str:
    """A message's words without case, extra spacing and punctuation."""
    return " ".join(_words(text))


# Leaving too early.

_OFFER = re.compile(
    r"\b(any|some)thing (else|more)\b|\b(further|more|other) (help|assistance|questions|requests)\b"
    r"|\balso\b|\bas well\b|\bhelp (you )?(with|further)\b",
    re.IGNORECASE,
)
"""Matches offers of more help, which need no answer before a goodbye."""
_DECLINED = re.compile(r"\b(no|not|never|nothing)\b|n't\b", re.IGNORECASE)
_LONGEST_LITERAL = 6
"""In words. Users rephrase longer texts (a note, a description)."""


def _values_to_give(task: Task, subgoal: int | None = None) -> list[str]:
    """The values that the task's calls use and its goal states, which the user has to provide."""
    calls = [call for call in task.expected_plan or task.gold_calls if subgoal is None or call.subgoal == subgoal]
    values = dict.fromkeys(value for call in calls for value in literals(call.arguments))
    return [value for value in values if len(value.split()) <= _LONGEST_LITERAL and states(task.goal, value)]


def premature_ends(dialogue: Dialogue, tasks: Sequence[PlayedTask]) -> Iterator[Fault]:
    """The user left without stating a value that its goal needs, or without answering a question. Values that the
    assistant stated before the task count as stated: "that appointment" is then enough."""
    for played in tasks:
        if not played.ended_by_user or not played.user_texts:
            continue
        texts = [m.content for m in dialogue.messages[: played.end] if isinstance(m, UserMessage)]
        texts += [m.content for m in dialogue.messages[: played.start] if isinstance(m, AssistantMessage)]
        text = "\n".join(texts)
        if missing := [value for value in _values_to_give(played.task) if not states(text, value)]:
            yield _premature(played, f"it never said {', '.join(missing)}")
        messages = dialogue.messages[played.start : played.end]
        closing = messages[-1].content if isinstance(messages[-1], UserMessage) else ""
        answers = [m.content for m in messages if isinstance(m, AssistantMessage) and not m.tool_calls]
        question = _question(answers[-1]) if answers else ""
        if question and not _DECLINED.search(closing):
            yield _premature(played, f"it did not answer: {question}")


def _premature(played: PlayedTask, why: str) -> Fault:
    return Fault(kind="premature_ends", position=played.end - 1, detail=f"the user ended the task, but {why}")


def _question(answer: str) -> str:
    """The question in an answer's last two sentences, unless it only offers more help; '' if there is none."""
    last = re.split(r"(?<=[.!?])\s+", answer.strip())[-2:]
    questions = [sentence for sentence in last if sentence.endswith("?")]
    return questions[-1] if questions and not any(_OFFER.search(question) for question in questions) else ""


# Saying what the user should not know, or should not say.

_META = re.compile(r"\b(?:goals?|sub-?goals?|sub-?tasks?|simulat\w*|role-?play\w*|personas?)\b", re.IGNORECASE)
_THIRD_PERSON = re.compile(r"\bthe user (?:also )?(?:wants|needs to|would like)\b", re.IGNORECASE)
_RECITED_WORDS = 10
"""This many consecutive words of the goal, not counting those of its subgoals, are no longer the user's own."""
_FRAME_WORDS = 4
"""A complete sentence with this many words besides its subgoals comes from the goal ("The user wants to …")."""


def leaked_goals(dialogue: Dialogue, tasks: Sequence[PlayedTask], rules: UserRules) -> Iterator[Fault]:
    """The user recites its goal, mentions goals or simulations, or uses names that only the harness knows: tools, their
    parameters, the keys of the user's own JSON answers. Words that its goal or the assistant used are allowed."""
    names = {name for tool in dialogue.tools for name in (tool.name, *tool.parameters.get("properties", {}))}
    hidden = {name for name in names if "_" in name or re.search(r"[a-z][A-Z]", name)}
    hidden |= {"user_message", "is_task_complete"}
    may_say_everything = rules.disclosure == "upfront" and rules.max_subtasks_per_turn is None
    known: set[str] = set()
    for played, position, text, news in _with_news(dialogue, tasks):
        known.update(word for item in news for word in _words(item))
        named = [word for word in re.findall(r"\w+", text) if word in hidden and word.casefold() not in known]
        meta = [term for term in _META.findall(text) if not _is_known(term, known)] + _THIRD_PERSON.findall(text)
        recited = _Goal(played.task).recited(text, may_say_everything)
        for leak in [*named[:1], *meta[:1], *([recited] if recited else [])]:
            yield Fault(kind="leaked_goals", position=position, detail=f"the user says: {leak}")


def _is_known(term: str, known: set[str]) -> bool:
    return all({word, f"{word}s", word.removesuffix("s")} & known for word in _words(term))


class _Goal:
    """The words of a goal, and whether each belongs to a subgoal."""

    def __init__(self, task: Task) -> None:
        self.words = _words(task.goal)
        self.sentences = [_words(sentence) for sentence in re.split(r"(?<=[.!?])\s+", task.goal)]
        self.in_subgoal = [False] * len(self.words)
        for phrase in map(_words, task.subgoals):
            for start in _occurrences(phrase, self.words):
                self.in_subgoal[start : start + len(phrase)] = [True] * len(phrase)

    def recited(self, text: str, may_say_everything: bool) -> str:
        """The goal's words that `text` repeats beyond requesting subgoals, or ''. Users that `may_say_everything` at
        once may repeat long parts."""
        words = _words(text)
        for sentence in self.sentences:
            start = next(_occurrences(sentence, self.words), 0)
            if self._frame(start, len(sentence)) >= _FRAME_WORDS and any(True for _ in _occurrences(sentence, words)):
                return " ".join(sentence)
        if not may_say_everything:
            for block in SequenceMatcher(None, self.words, words, autojunk=False).get_matching_blocks():
                if self._frame(block.a, block.size) >= _RECITED_WORDS:
                    return " ".join(self.words[block.a : block.a + block.size])
        return ""

    def _frame(self, start: int, length: int) -> int:
        """How many of these words are outside the subgoals."""
        return self.in_subgoal[start : start + length].count(False)


def _occurrences(phrase: Sequence[str], words: Sequence[str]) -> Iterator[int]:
    """The positions at which `phrase` occurs in `words`."""
    for start in range(len(words) - len(phrase) + 1 if phrase else 0):
        if words[start : start + len(phrase)] == phrase:
            yield start


def invented_facts(dialogue: Dialogue, tasks: Sequence[PlayedTask]) -> Iterator[Fault]:
    """The user states numbers, dates, times, addresses or identifiers that neither its goals nor messages contain."""
    known = Knowledge()
    for _, position, text, news in _with_news(dialogue, tasks):
        for item in news:
            known.learn(item)
        if invented := [fact.text for fact in facts(text) if not known.knows(fact)]:
            detail = f"the user cannot know {', '.join(dict.fromkeys(invented))}"
            yield Fault(kind="invented_facts", position=position, detail=detail)
        known.learn(text)


# Asking for too much, or again.


def crowded_messages(tasks: Sequence[PlayedTask], rules: UserRules) -> Iterator[Fault]:
    """One message first voices more subtasks than the rules allow. A subtask is voiced once its phrase has been said,
    or all values that only this subtask needs; a subtask with neither cannot be counted."""
    for played in tasks if rules.max_subtasks_per_turn is not None else ():
        own_values = _own_values(played.task)
        so_far = "\n".join(played.imported_texts)
        voiced = _voiced(played.task, own_values, so_far)
        for position, text in played.user_texts.items():
            so_far = f"{so_far}\n{text}"
            now = _voiced(played.task, own_values, so_far)
            if len(now - voiced) > (rules.max_subtasks_per_turn or 0):
                limit = rules.max_subtasks_per_turn
                detail = f"the user asks for {len(now - voiced)} things at once, at most {limit} allowed"
                yield Fault(kind="crowded_messages", position=position, detail=detail)
            voiced |= now


def _own_values(task: Task) -> list[set[str]]:
    """For each subgoal, the values that it needs and no other subgoal does."""
    needed = [set(_values_to_give(task, number)) for number in range(len(task.subgoals))]
    return [
        values - {value for other, others in enumerate(needed) if other != number for value in others}
        for number, values in enumerate(needed)
    ]


def _voiced(task: Task, own_values: Sequence[set[str]], text: str) -> set[int]:
    """The numbers of the subgoals that `text` voices."""
    words = f" {plain_words(text)} "
    return {
        number
        for number, (phrase, values) in enumerate(zip(task.subgoals, own_values, strict=True))
        if f" {plain_words(phrase)} " in words or (values and all(states(text, value) for value in values))
    }


_SHORT = 5
"""Messages of fewer words ("Yes, please go ahead.") may recur, unless they answer the same message."""


def repeated_messages(dialogue: Dialogue, tasks: Sequence[PlayedTask]) -> Iterator[Fault]:
    """The user repeats a message, ignoring case and punctuation."""
    seen: dict[str, set[str]] = {}
    for played in tasks:
        for position, text in played.user_texts.items():
            message, before = (
                plain_words(text),
                plain_words(dialogue.messages[position - 1].content if position else ""),
            )
            earlier = seen.setdefault(message, set())
            if earlier and (before in earlier or len(message.split()) >= _SHORT):
                detail = f"the user says again: {text}"
                yield Fault(kind="repeated_messages", position=position, detail=detail)
            earlier.add(before)
