"""A model as one dialogue sees it: what its answers cost and what was wrong with them is counted, a bad answer asked for again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from core.dialogue import Usage
from generation.llm.base import LLM, Completion, Request, UnusableAnswerError

T = TypeVar("T")


@dataclass
class Meter:
    """Passes requests on and adds up what they cost. `flaws` counts bad answers as "role/kind"."""

    llm: LLM
    flaws: Counter[str] = field(default_factory=Counter)
    _requests: int = 0
    _prompt_tokens: int = 0
    _completion_tokens: int = 0

    @property
    def name(self) -> str:
        return self.llm.name

    @property
    def usage(self) -> Usage:
        """Everything so far."""
        return Usage(
            requests=self._requests,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            flaws=dict(sorted(self.flaws.items())),
        )

    async def complete(self, request: Request) -> Completion:
        completion = await self.llm.complete(request)
        self._requests += 1
        self._prompt_tokens += completion.prompt_tokens
        self._completion_tokens += completion.completion_tokens
        for flaw in completion.flaws:
            self.flaws[f"{request.role}/{flaw}"] += 1
        if completion.finish_reason == "length":
            self.flaws[f"{request.role}/truncated"] += 1
        elif not completion.message.content.strip() and not completion.message.tool_calls:
            self.flaws[f"{request.role}/empty"] += 1
        return completion

    async def ask(
        self, request: Callable[[int, str], Request], read: Callable[[Completion], Awaitable[T]], attempts: int
    ) -> T:
        """Ask until an answer can be read. `request` makes attempt number i, given what was wrong with the last answer;
        `read` raises ValueError for an answer that cannot be used.

        Raises UnusableAnswerError, blaming the request's role, with every complaint; LLMError where no model answers.
        """
        complaints: list[str] = []
        for attempt in range(attempts):
            asked = request(attempt, complaints[-1] if complaints else "")
            completion = await self.complete(asked)
            try:
                return await read(completion)
            except ValueError as error:
                complaints.append(str(error))
                if completion.finish_reason != "length" and completion.message.content.strip():
                    self.flaws[f"{asked.role}/malformed"] += 1
        raise UnusableAnswerError(asked.role, f"nothing usable in {attempts} attempts: {'; '.join(complaints)}")

    async def close(self) -> None:
        """The metered model belongs to the run, not to the dialogue."""
