"""A model as one dialogue uses it: counts the cost and the flaws of its answers, and retries unusable ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from core.dialogue import RoleUsage, Usage
from generation.llm.base import LLM, Completion, RejectedAnswerError, Request, UnusableAnswerError
from generation.llm.parsing.json_text import needs_repair

T = TypeVar("T")


@dataclass
class Meter:
    """Forwards requests and sums up their cost: `seconds` that each role waited for answers, and the `retries` they
    took.

    `flaws` counts what was wrong with answers as "role/kind":

    - truncated: cut off by the token limit
    - empty: neither text nor a tool call
    - malformed: unreadable, though neither truncated nor empty; an answer that only fails a check does not count
    - repaired, unclosed: usable after a fix by the parser (see Completion.flaws) or the reader
    """

    llm: LLM
    flaws: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    retries: Counter[str] = field(default_factory=Counter)
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
        completion = await self.llm.complete(request)
        cost = RoleUsage(
            requests=1,
            prompt_tokens=completion.prompt_tokens,
            cached_tokens=completion.cached_tokens,
            completion_tokens=completion.completion_tokens,
        )
        self._roles[request.role] = self._roles.get(request.role, RoleUsage()) + cost
        self.seconds[request.role] = self.seconds.get(request.role, 0.0) + completion.seconds
        if completion.retries:
            self.retries[request.role] += completion.retries
        self._count(request, *completion.flaws, *_missing_content(completion))
        return completion

    async def request(
        self, build: Callable[[int, str], Request], read: Callable[[Completion], Awaitable[T]], attempts: int
    ) -> T:
        """Request an answer until one is usable, at most `attempts` times.

        `build` maps (attempt number, what was wrong with the last answer) to a request. `read` raises ValueError for an
        unusable answer, RejectedAnswerError for one that can be parsed but fails a check.

        Raises UnusableAnswerError, which blames the request's role and lists every complaint, and LLMError if no server
        answers.
        """
        complaints: list[str] = []
        for attempt in range(attempts):
            request = build(attempt, complaints[-1] if complaints else "")
            completion = await self.complete(request)
            if completion.finish_reason == "length":  # once repaired, a truncated answer may look complete
                complaints.append("the answer was cut off by the token limit")
                continue
            try:
                answer = await read(completion)
            except RejectedAnswerError as error:
                complaints.append(str(error))
                self._count(request, *_repaired(request, completion))
            except ValueError as error:
                complaints.append(str(error))
                self._count(request, *(() if _missing_content(completion) else ("malformed",)))
            else:
                self._count(request, *_repaired(request, completion))
                return answer
        count = f"nothing usable in {attempts} attempts: " if attempts > 1 else ""
        raise UnusableAnswerError(request.role, count + "; ".join(dict.fromkeys(complaints)))

    def _count(self, request: Request, *kinds: str) -> None:
        self.flaws.update(f"{request.role}/{kind}" for kind in kinds)

    async def close(self) -> None:
        """Does nothing: the metered model belongs to the run, not to the dialogue."""


def _missing_content(completion: Completion) -> tuple[str, ...]:
    """The flaw of an answer that is cut off or empty, whatever it was meant to contain."""
    if completion.finish_reason == "length":
        return ("truncated",)
    return () if completion.message.content.strip() or completion.message.tool_calls else ("empty",)


def _repaired(request: Request, completion: Completion) -> tuple[str, ...]:
    """The flaw of an answer that was repaired to be read. Requests with tools are answered in prose, which may contain
    braces; every other answer is JSON. A repair that the parser noted is already counted."""
    if request.tools or "repaired" in completion.flaws:
        return ()
    return ("repaired",) if needs_repair(completion.message.content) else ()
