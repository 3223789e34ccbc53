"""A model per role: one model in general, others for single roles."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from generation.llm.base import LLM, Completion, Request, Role


class LLMByRole:
    """Implements generation.llm.base.LLM: `roles` answer their own requests, `default` all others. It bears the
    default's name; each completion names the model that answered."""

    def __init__(self, default: LLM, roles: Mapping[Role, LLM]) -> None:
        self.default = default
        self.roles = dict(roles)

    @property
    def name(self) -> str:
        return self.default.name

    async def complete(self, request: Request) -> Completion:
        return await self.roles.get(request.role, self.default).complete(request)

    async def close(self) -> None:
        await asyncio.gather(*(llm.close() for llm in (self.default, *self.roles.values())))
