"""A model as one dialogue uses it: counts the cost and the flaws of its answers, and retries unusable ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from core.messages import AssistantMessage, Message, UserMessage
from core.usage import RoleUsage, Usage
from generation.llm.base import LLM, Completion, RejectedAnswerError, Request, Role, UnusableAnswerError
from generation.llm.parsing.json_text import complete_part, needs_repair
from generation.prompts import render

T = TypeVar("T")

MODELS_JOINED_BY = " + "
"""Stands between the names of several models that answered one role."""

CUT = "the answer was cut off by the token limit"
_MAX_SHOWN = 4000
"""Characters of a refused answer that the next request shows."""
_BAD_ANSWERS = {"cut": ("truncated",), "unreadable": ("malformed", "empty"), "repaired": ("repaired",)}
_BAD_ANSWERS |= {"refused": ("refused",)}
"""What consoles say about answers -> the flaws that it counts."""


@dataclass
class Meter:
    """Forwards requests and sums up their cost: `seconds` that each role waited for answers, and the `retries` they
    took. `models` names the models that answered each role, `last_model` the one that gave the last answer.

    `rollout` numbers the rollouts of the dialogue; from the second one (1) on it is part of every request's key, so
    that each has sampling seeds of its own.

    `flaws` counts what was wrong with answers as "role/kind":

    - truncated: cut off by the token limit
    - empty: neither text nor a tool call
    - malformed: unreadable, though neither truncated nor empty
    - refused: readable, but it failed a check
    - repaired, unclosed: usable after a fix by the parser (see Completion.flaws) or the reader
    """

    llm: LLM
    flaws: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    retries: Counter[str] = field(default_factory=Counter)
    models: dict[Role, str] = field(default_factory=dict)
    last_model: str = ""
    rollout: int = 0
    _roles: dict[str, RoleUsage] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.llm.name

    @property
    def usage(self) -> Usage:
        """Tokens, requests and flaws so far."""
        total = sum(self._roles.values(), RoleUsage())
        return Usage(
            requests=total.requests,
            prompt_tokens=total.prompt_tokens,
            completion_tokens=total.completion_tokens,
            roles=dict(sorted(self._roles.items())),
            flaws=dict(sorted(self.flaws.items())),
        )

    async def complete(self, request: Request) -> Completion:
        if self.rollout:
            rest = request.key.removeprefix(request.affinity)
            request = replace(request, key=f"{request.affinity}/rollout-{self.rollout}{rest}")
        completion = await self.llm.complete(request)
        cost = RoleUsage(
            requests=1,
            prompt_tokens=completion.prompt_tokens,
            cached_tokens=completion.cached_tokens,
            completion_tokens=completion.completion_tokens,
        )
        self._roles[request.role] = self._roles.get(request.role, RoleUsage()) + cost
        self.seconds[request.role] = self.seconds.get(request.role, 0.0) + completion.seconds
        self.last_model = completion.model
        if completion.model:
            known = self.models.get(request.role, "").split(MODELS_JOINED_BY)
            self.models[request.role] = MODELS_JOINED_BY.join(sorted({*known, completion.model} - {""}))
        if completion.retries:
            self.retries[request.role] += completion.retries
        self._count(request, *completion.flaws, *_missing_content(completion))
        return completion

    async def request(
        self,
        build: Callable[[int], Request],
        read: Callable[[Completion], Awaitable[T]],
        attempts: int,
        repair: bool = True,
    ) -> T:
        """Request an answer until one is usable, at most `attempts` times.

        `build` maps the attempt number to a request. `read` raises ValueError for an unusable answer,
        RejectedAnswerError for one that can be parsed but fails a check. Of a cut answer it gets the complete JSON.

        With `repair`, each further request continues the conversation: it shows the model its refused answer and what
        is wrong with it, so that the prompt's prefix stays cached; a model that then repeats an answer is not asked
        again. Without, `build`'s request is sent as it is.

        Raises UnusableAnswerError, which blames the request's role and lists every complaint, and LLMError if no server
        answers.
        """
        complaints: list[str] = []
        answers: list[str] = []
        turns: tuple[Message, ...] = ()
        for attempt in range(attempts):
            request = build(attempt)
            request = replace(request, messages=(*request.messages, *turns))
            completion = await self.complete(request)
            try:
                answer = await read(_complete_part(request, completion))
            except ValueError as error:
                complaints.append(_complaint(completion, error))
                if isinstance(error, RejectedAnswerError):
                    self._count(request, "refused", *_repaired(request, completion))
                else:
                    self._count(request, *(() if _missing_content(completion) else ("malformed",)))
            else:
                self._count(request, *_repaired(request, completion))
                return answer
            given = completion.message.content.strip()
            if repair and given:
                if given in answers:
                    complaints.append("the model repeats its answer")
                    break
                answers.append(given)
                turns = (*turns, *_repair_turns(given, complaints[-1]))
        count = f"nothing usable in {attempt + 1} attempts: " if attempt else ""
        raise UnusableAnswerError(request.role, count + "; ".join(dict.fromkeys(complaints)))

    def _count(self, request: Request, *kinds: str) -> None:
        self.flaws.update(f"{request.role}/{kind}" for kind in kinds)

    async def close(self) -> None:
        """Does nothing: the metered model belongs to the run, not to the dialogue."""


def _complete_part(request: Request, completion: Completion) -> Completion:
    """What can be read of an answer: of one in JSON that was cut, the complete part. Requests with tools are answered
    in prose or by calls, and half of that is not an answer. Raises ValueError if nothing is left."""
    if not completion.is_cut:
        return completion
    part = "" if request.tools else complete_part(completion.message.content)
    if not part:
        raise ValueError(CUT)
    return replace(completion, message=completion.message.model_copy(update={"content": part}))


def _complaint(completion: Completion, error: ValueError) -> str:
    if not completion.is_cut:
        return str(error)
    # What was read of a cut answer may fail only because the rest is missing.
    return f"{CUT}; {error}" if isinstance(error, RejectedAnswerError) else CUT


def _repair_turns(given: str, complaint: str) -> tuple[Message, ...]:
    return AssistantMessage(content=given[:_MAX_SHOWN]), UserMessage(content=render("repair", complaint=complaint))


def _missing_content(completion: Completion) -> tuple[str, ...]:
    """The flaw of an answer that is cut off or empty, whatever it was meant to contain."""
    if completion.is_cut:
        return ("truncated",)
    return () if completion.message.content.strip() or completion.message.tool_calls else ("empty",)


def _repaired(request: Request, completion: Completion) -> tuple[str, ...]:
    """The flaw of an answer that was repaired to be read. Requests with tools are answered in prose, which may contain
    braces; every other answer is JSON. A repair that the parser noted is already counted."""
    if request.tools or completion.is_cut or "repaired" in completion.flaws:
        return ()
    return ("repaired",) if needs_repair(completion.message.content) else ()


def bad_answers(flaws: Mapping[str, int], role: str) -> str:
    """How many of a role's answers were cut off, could not be read, were repaired or refused: "2 cut, 1 refused"."""
    counts = {name: sum(flaws.get(f"{role}/{kind}", 0) for kind in kinds) for name, kinds in _BAD_ANSWERS.items()}
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
