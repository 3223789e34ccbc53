"""Transports to misbehaving servers."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from typing import Any

from generation.llm.openai import OpenAILLM
from tests.generation.helpers.misbehaving_servers import Mock, request_of, serving

CALLS = 6


@contextlib.asynccontextmanager
async def servers(count: int, *script: Any) -> AsyncIterator[list[Mock]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serving(*script)) for _ in range(count)]


async def run_dialogues(llm: OpenAILLM, names: Iterable[str], calls: int = CALLS) -> Counter[str]:
    """Run all dialogues at once, each a chain of calls. Returns the number of answers of each."""
    answers: Counter[str] = Counter()

    async def one(name: str) -> None:
        for turn in range(calls):
            await llm.complete(request_of(name, turn))
            answers[name] += 1

    await asyncio.gather(*map(one, names))
    return answers


def names(count: int) -> list[str]:
    return [f"d{i}" for i in range(count)]
