"""Injects faults into any model: broken answers, server errors, timeouts and slow answers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import get_args

from pydantic import Field

from core.settings import Settings, UserError, typed
from generation.llm.base import LLM, Completion, LLMError, Request, Role
from generation.llm.faults.broken_answers import BREAKAGES, Breakage, break_answer


class ModelFaults(Settings):
    """How often each fault is injected, from 0 to 1.

    An answer is broken in at most one way, see `generation.llm.faults.broken_answers.break_answer`.
    """

    malformed: float = Field(default=0.0, ge=0, le=1, description="Share of answers that are malformed.")
    truncated: float = Field(default=0.0, ge=0, le=1, description="Share of answers cut off by the token limit.")
    empty: float = Field(default=0.0, ge=0, le=1, description="Share of answers that are empty.")
    unclosed: float = Field(default=0.0, ge=0, le=1, description="Share of answers whose thinking never ends.")
    error: float = Field(default=0.0, ge=0, le=1, description="Share of attempts that fail with an HTTP 5xx error.")
    timeout: float = Field(default=0.0, ge=0, le=1, description="Share of attempts that time out.")
    slow: float = Field(default=0.0, ge=0, le=1, description="Share of answers that arrive late.")


class FaultyLLM:
    """Implements generation.llm.base.LLM around another model.

    The faults of a request follow from `seed` and its key alone, whatever the concurrency, so a dialogue that goes
    unanswered goes unanswered again when its run is resumed. A failed attempt is repeated up to `retries` times, as a
    client would: a request fails with probability (error + timeout) ** (retries + 1). A slow answer takes `slow_s`
    seconds longer, and so does an attempt that times out. Faults hit only requests of `roles` (None: all).

    Each fault appears in the completion's flaws as "injected_<kind>", next to what the parser and the meter find.
    """

    def __init__(
        self,
        inner: LLM,
        shares: Mapping[str, float],
        roles: Sequence[Role] | None = None,
        retries: int = 5,
        slow_s: float = 5.0,
        seed: int = 0,
    ) -> None:
        """Raises UserError for unknown kinds and roles, and for shares that are out of range or add up to more than
        1."""
        if unknown := set(roles or ()) - set(get_args(Role)):
            raise UserError(f"llm.roles names unknown roles {sorted(unknown)}; roles: {', '.join(get_args(Role))}")
        for name, value in (("retries", retries), ("slow_s", slow_s)):
            if not isinstance(value, int | float) or value < 0:
                raise UserError(f"llm.{name}={value!r} was given; a number from 0 is expected")
        self.inner = inner
        self.shares = typed(dict(shares), ModelFaults, "llm.shares")
        self.roles = frozenset(get_args(Role) if roles is None else roles)
        self.retries = retries
        self.slow_s = slow_s
        self.seed = seed
        for kinds in (BREAKAGES, ("error", "timeout")):
            if (total := sum(getattr(self.shares, kind) for kind in kinds)) > 1 + 1e-9:
                raise UserError(f"llm.shares: {', '.join(kinds)} add up to {total:g}; at most 1 is expected")

    @property
    def name(self) -> str:
        return f"{self.inner.name} with faults"

    async def complete(self, request: Request) -> Completion:
        """The inner model's answer, possibly broken. Raises LLMError after all attempts, and whatever the inner model
        raises."""
        if request.role not in self.roles:
            return await self.inner.complete(request)
        rng = Random(f"{self.seed}/{request.key}/faults")
        faults = await self._failures(request, rng)
        completion = await self.inner.complete(request)
        completion = replace(completion, retries=completion.retries + len(faults))
        if rng.random() < self.shares.slow:
            await asyncio.sleep(self.slow_s)
            faults.append("slow")
        kind = self._draw_breakage(rng)
        if kind and completion.finish_reason != "length":
            completion = break_answer(completion, kind, request, rng)
            faults.append(kind)
        return replace(completion, flaws=(*completion.flaws, *(f"injected_{fault}" for fault in faults)))

    async def close(self) -> None:
        await self.inner.close()

    async def _failures(self, request: Request, rng: Random) -> list[str]:
        """The failed attempts before one succeeds. Raises LLMError if all of them fail."""
        failures: list[str] = []
        while len(failures) <= self.retries:
            drawn = rng.random()
            if drawn < self.shares.error:
                failures.append("error")
            elif drawn < self.shares.error + self.shares.timeout:
                failures.append("timeout")
                await asyncio.sleep(self.slow_s)
            else:
                return failures
        problem = "HTTP 503" if failures[-1] == "error" else "no answer in time"
        raise LLMError(f"{request.key}: injected: {problem} (tried {len(failures)} times)")

    def _draw_breakage(self, rng: Random) -> Breakage | None:
        drawn = rng.random()
        ends = itertools.accumulate(getattr(self.shares, kind) for kind in BREAKAGES)
        return next((kind for kind, end in zip(BREAKAGES, ends, strict=True) if drawn < end), None)
