"""Faults on demand: any model whose answers come out broken, and whose server fails, keeps one waiting or is slow."""

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
from generation.llm.faults.breakage import BREAKAGES, Breakage, broken


class ModelFaults(Settings):
    """How often, from 0 to 1.

    RankRows of answers, of which one is broken in one way only: malformed, truncated, empty, unclosed (see
    `generation.llm.faults.breakage.broken`). RankRows of attempts to get one: error (HTTP 5xx), timeout. Share of answers: slow.
    """

    malformed: float = Field(default=0.0, ge=0, le=1)
    truncated: float = Field(default=0.0, ge=0, le=1)
    empty: float = Field(default=0.0, ge=0, le=1)
    unclosed: float = Field(default=0.0, ge=0, le=1)
    error: float = Field(default=0.0, ge=0, le=1)
    timeout: float = Field(default=0.0, ge=0, le=1)
    slow: float = Field(default=0.0, ge=0, le=1)


class FaultyLLM:
    """Implements generation.llm.base.LLM around another model.

    What befalls a request follows from `seed` and its key alone, whatever the concurrency; so a dialogue that is lost here is
    lost again when its run is resumed. An attempt that fails is made again up to `retries` times, as a client does it: the
    model is unreachable for a request with a chance of (error + timeout) ** (retries + 1). A slow answer takes `slow_s`
    seconds longer, and an attempt that times out has taken as long. `roles` are those whose requests are struck; None: all.

    Each fault is noted in the completion's flaws as "injected_<kind>", beside what the parser and the meter find in it.
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
        """Raises UserError for unknown kinds and roles, and for shares that are none or together more than everything."""
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
        """The inner model's answer, or a fault instead of it. Raises LLMError after all attempts, and what the inner one raises."""
        if request.role not in self.roles:
            return await self.inner.complete(request)
        rng = Random(f"{self.seed}/{request.key}/faults")
        faults = await self._failures(request, rng)
        completion = await self.inner.complete(request)
        completion = replace(completion, retries=completion.retries + len(faults))
        if rng.random() < self.shares.slow:
            await asyncio.sleep(self.slow_s)
            faults.append("slow")
        kind = self._breakage(rng)
        if kind and completion.finish_reason != "length":
            completion = broken(completion, kind, request, rng)
            faults.append(kind)
        return replace(completion, flaws=(*completion.flaws, *(f"injected_{fault}" for fault in faults)))

    async def close(self) -> None:
        await self.inner.close()

    async def _failures(self, request: Request, rng: Random) -> list[str]:
        """What went wrong before an attempt succeeded. Raises LLMError where none did."""
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
        what = "HTTP 503" if failures[-1] == "error" else "no answer in time"
        raise LLMError(f"{request.key}: injected: {what} (tried {len(failures)} times)")

    def _breakage(self, rng: Random) -> Breakage | None:
        drawn = rng.random()
        ends = itertools.accumulate(getattr(self.shares, kind) for kind in BREAKAGES)
        return next((kind for kind, end in zip(BREAKAGES, ends, strict=True) if drawn < end), None)
