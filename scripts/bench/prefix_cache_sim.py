"""Simulated prefix caches of engines, as in vLLM: complete blocks of 16 tokens, evicted least recently used first."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment

import training
from core.messages import AssistantMessage, Message
from generation.llm.base import Completion, Request

BLOCK = 16
_COUNT = re.compile(r"^vllm:prefix_cache_(queries|hits)_total\S* ([0-9.e+]+)$", re.M)
_TOKEN = re.compile(r" ?[^\W\d_]{1,6}|\d{1,3}|\s*[\r\n]+|\s+|[^\w\s]|_")
"""Splits text about as finely as a model's tokenizer: pieces of words with the space before them, three digits, signs.
Like tokenizers, it never joins a line break with the next word."""


@dataclass(frozen=True)
class EngineRequest:
    """One request as an engine sees it."""

    role: str
    affinity: str
    prompt_tokens: int
    answer_tokens: int

    blocks: tuple[int, ...]
    """A hash of every complete block of prompt and answer and of everything before it: equal hashes mean equal
    prefixes."""


@dataclass
class Tally:
    """Counts of prompt tokens, cached prompt tokens, generated tokens and requests."""

    prompt: int = 0
    cached: int = 0
    generated: int = 0
    requests: int = 0

    def add(self, request: EngineRequest, cached: int) -> None:
        self.prompt += request.prompt_tokens
        self.cached += cached
        self.generated += request.answer_tokens
        self.requests += 1

    @property
    def hit(self) -> float:
        """The share of prompt tokens that were cached."""
        return self.cached / self.prompt if self.prompt else 0.0


@dataclass
class PrefixCache:
    """One engine's cache of `size` blocks."""

    size: int
    _blocks: OrderedDict[int, None] = field(default_factory=OrderedDict)

    def serve(self, request: EngineRequest) -> int:
        """The number of cached prompt tokens; afterwards prompt and answer are cached. At least one token is always
        computed."""
        complete_blocks = (request.prompt_tokens - 1) // BLOCK
        hit = 0
        while hit < complete_blocks and request.blocks[hit] in self._blocks:
            hit += 1
        # The last block is the least reusable one, so it becomes the oldest of them.
        for block in reversed(request.blocks):
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > self.size:
            self._blocks.popitem(last=False)
        return hit * BLOCK


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of tallies."""
    result = Tally()
    for tally in tallies:
        result.prompt += tally.prompt
        result.cached += tally.cached
        result.generated += tally.generated
        result.requests += tally.requests
    return result


def engine_request(request: Request, completion: Completion, thinking: int) -> EngineRequest:
    """A request in the chat format of Qwen3-Thinking, which keeps reasoning only after the last user message. The
    stand-in's short reasoning is extended by `thinking` tokens."""
    messages = [lengthen_reasoning(message, thinking) for message in request.messages]
    tools = [tool.openai() for tool in request.tools]
    prompt = _TOKEN.findall(render(messages, tools, prompt=True))
    answer = lengthen_reasoning(completion.message, thinking)
    # The next prompt can continue only the rendered turn, so the cache gets the answer as rendered before the next
    # message.
    after = _TOKEN.findall(render([*messages, answer], tools, prompt=False))
    tokens = after if after[: len(prompt)] == prompt else prompt
    generated = max(len(after) - len(prompt), 1)
    return EngineRequest(request.role, request.affinity, len(prompt), generated, _blocks(tokens))


def lengthen_reasoning(message: Message, thinking: int) -> Message:
    """Extend the stand-in's short reasoning by `thinking` tokens; different reasoning stays different."""
    if not isinstance(message, AssistantMessage) or not message.reasoning_content:
        return message
    return message.model_copy(update={"reasoning_content": message.reasoning_content + " hm" * thinking})


def _blocks(tokens: Sequence[str]) -> tuple[int, ...]:
    hashes, block_hash = [], 0
    for end in range(BLOCK, len(tokens) + 1, BLOCK):
        block_hash = hash((block_hash, *tokens[end - BLOCK : end]))
        hashes.append(block_hash)
    return tuple(hashes)


def render(messages: Sequence[Message], tools: Sequence[dict[str, Any]], prompt: bool) -> str:
    """The chat template applied to the messages, with the generation prompt if `prompt`."""
    plain = [message.model_dump(exclude_none=True) for message in messages]
    return str(_template().render(messages=plain, tools=tools, add_generation_prompt=prompt))


@cache
def _template() -> Any:
    environment = Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters["tojson"] = partial(json.dumps, ensure_ascii=False)
    return environment.from_string((Path(training.__file__).parent / "template.jinja").read_text())


def read_metrics(text: str) -> dict[str, int]:
    """The numbers of tokens looked up and found, from vLLM's /metrics, over all engines of the server."""
    counts = {"queries": 0, "hits": 0}
    for name, value in _COUNT.findall(text):
        counts[name] += int(float(value))
    return counts
