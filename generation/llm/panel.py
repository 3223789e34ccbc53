"""A panel of judges: several models take the votes of the judge in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from core.settings import UserError
from generation.llm.base import LLM, Completion, Request
from generation.llm.meter import MODELS_JOINED_BY


class Panel:
    """Implements generation.llm.base.LLM for the role judge: of k `models`, in their order, model v mod k gives vote v
    of every task. Each completion names the model that answered."""

    def __init__(self, models: Mapping[str, LLM | None]) -> None:
        """`models` are given by name; those that are null are left out. Raises UserError without any."""
        self.models = tuple(model for model in models.values() if model is not None)
        if not self.models:
            raise UserError("a panel has no models; expected at least one, such as llm@roles.judge.models.first=vllm")

    @property
    def name(self) -> str:
        return MODELS_JOINED_BY.join(sorted({model.name for model in self.models}))

    async def complete(self, request: Request) -> Completion:
        """Raises UserError for a request of another role: only votes have an order to take turns in."""
        if request.role != "judge":
            raise UserError(
                f"a panel of models was asked to be the {request.role}, but it only judges: give it as "
                "llm@roles.judge=panel"
            )
        vote = int(request.key.split("/")[-2])  # …/judge/VOTE/ATTEMPT: another attempt asks the same model again
        return await self.models[vote % len(self.models)].complete(request)

    async def close(self) -> None:
        await asyncio.gather(*(model.close() for model in self.models))
