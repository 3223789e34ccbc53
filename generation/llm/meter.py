"""A model as one dialogue sees it: what its answers cost and what was wrong with them is counted, a bad answer asked for again."""

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
    """Passes requests on and adds up what they cost; `seconds` are those that each role waited for answers, `retries` how
    often servers had to be asked again for them. `flaws` counts what was wrong with answers as "role/kind":

    - truncated: cut off by the token limit
    - empty: neither text nor a call
    - malformed: could not be read; neither truncated nor empty, and not merely refused for what it says
    - repaired, unclosed: could be used once the parser (core's kinds, see Completion.flaws) or the reader had mended it
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
        """Everything so far."""
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
        self._count(request, *completion.flaws, *_lack(completion))
        return completion

    async def ask(
        self, request: Callable[[int, str], Request], read: Callable[[Completion], Awaitable[T]], attempts: int
    ) -> T:
        """Ask until an answer can be read. `request` makes attempt number i, given what was wrong with the last answer;
        `read` raises ValueError for an answer that cannot be used, RejectedAnswerError for one that can be read but does not hold.

        Raises UnusableAnswerError, blaming the request's role, with every complaint; LLMError where no model answers.
        """
        complaints: list[str] = []
        for attempt in range(attempts):
            asked = request(attempt, complaints[-1] if complaints else "")
            completion = await self.complete(asked)
            if completion.finish_reason == "length":  # what is left of it may look whole once it is repaired
                complaints.append("the answer was cut off by the token limit")
                continue
            try:
                answer = await read(completion)
            except RejectedAnswerError as error:
                complaints.append(str(error))
                self._count(asked, *_repaired(asked, completion))
            except ValueError as error:
                complaints.append(str(error))
                self._count(asked, *(() if _lack(completion) else ("malformed",)))
            else:
                self._count(asked, *_repaired(asked, completion))
                return answer
        often = f"nothing usable in {attempts} attempts: " if attempts > 1 else ""
        raise UnusableAnswerError(asked.role, often + "; ".join(dict.fromkeys(complaints)))

    def _count(self, request: Request, *kinds: str) -> None:
        self.flaws.update(f"{request.role}/{kind}" for kind in kinds)

    async def close(self) -> None:
        """The metered model belongs to the run, not to the dialogue."""


def _lack(completion: Completion) -> tuple[str, ...]:
    """What the answer lacks whatever it was to say."""
    if completion.finish_reason == "length":
        return ("truncated",)
    return () if completion.message.content.strip() or completion.message.tool_calls else ("empty",)


def _repaired(request: Request, completion: Completion) -> tuple[str, ...]:
    """Whether an answer that could be read was mended for it. A request with tools is answered in words, in which anybody is
    free to write braces; every other answer is read as JSON."""
    known = request.tools or "repaired" in completion.flaws
    return () if known or not needs_repair(completion.message.content) else ("repaired",)
