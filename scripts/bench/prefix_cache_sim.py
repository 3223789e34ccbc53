"""Prefix caches of engines, simulated as vLLM keeps them: whole blocks of 16 tokens, the least lately used one goes first."""

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
"""No model's tokenizer, but about as fine as one, and like them it joins no line break with the word after it: pieces of words
with the space before them, three digits, signs."""


@dataclass(frozen=True)
class Served:
    """One request as an engine sees it. `blocks` name each whole block of prompt and answer together with all before it, so that
    equal names mean equal prefixes."""

    role: str
    affinity: str
    prompt_tokens: int
    answer_tokens: int
    blocks: tuple[int, ...]


@dataclass
class Tally:
    """Prompt tokens, those of them that were cached, generated tokens, requests."""

    prompt: int = 0
    cached: int = 0
    generated: int = 0
    requests: int = 0

    def add(self, request: Served, cached: int) -> None:
        self.prompt += request.prompt_tokens
        self.cached += cached
        self.generated += request.answer_tokens
        self.requests += 1

    @property
    def hit(self) -> float:
        return self.cached / self.prompt if self.prompt else 0.0


@dataclass
class PrefixCache:
    """One engine's cache of `size` blocks."""

    size: int
    _blocks: OrderedDict[int, None] = field(default_factory=OrderedDict)

    def serve(self, request: Served) -> int:
        """How many tokens of the prompt were cached; afterwards prompt and answer are. At least one token is always computed."""
        whole = (request.prompt_tokens - 1) // BLOCK
        hit = 0
        while hit < whole and request.blocks[hit] in self._blocks:
            hit += 1
        # The last block is the least useful one: it is used last by nobody else, so it is touched first.
        for block in reversed(request.blocks):
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > self.size:
            self._blocks.popitem(last=False)
        return hit * BLOCK


def total(tallies: Iterable[Tally]) -> Tally:
    whole = Tally()
    for tally in tallies:
        whole.prompt += tally.prompt
        whole.cached += tally.cached
        whole.generated += tally.generated
        whole.requests += tally.requests
    return whole


def served(request: Request, completion: Completion, thinking: int) -> Served:
    """A request in the chat format of Qwen3-Thinking, in which earlier reasoning is kept only since the user last spoke. The
    stand-in hardly thinks: its reasoning is made `thinking` tokens long."""
    messages = [thoughtful(message, thinking) for message in request.messages]
    tools = [tool.openai() for tool in request.tools]
    prompt = _TOKEN.findall(render(messages, tools, prompt=True))
    answer = thoughtful(completion.message, thinking)
    # Of the answer only what the next prompt may go on from: the whole turn, as it is rendered when nobody has spoken since.
    after = _TOKEN.findall(render([*messages, answer], tools, prompt=False))
    tokens = after if after[: len(prompt)] == prompt else prompt
    generated = max(len(after) - len(prompt), 1)
    return Served(request.role, request.affinity, len(prompt), generated, _blocks(tokens))


def thoughtful(message: Message, thinking: int) -> Message:
    """The stand-in's short reasoning made about `thinking` tokens long; different reasoning stays different."""
    if not isinstance(message, AssistantMessage) or not message.reasoning_content:
        return message
    return message.model_copy(update={"reasoning_content": message.reasoning_content + " hm" * thinking})


def _blocks(tokens: Sequence[str]) -> tuple[int, ...]:
    names, name = [], 0
    for end in range(BLOCK, len(tokens) + 1, BLOCK):
        name = hash((name, *tokens[end - BLOCK : end]))
        names.append(name)
    return tuple(names)


def render(messages: Sequence[Message], tools: Sequence[dict[str, Any]], prompt: bool) -> str:
    plain = [message.model_dump(exclude_none=True) for message in messages]
    return str(_template().render(messages=plain, tools=tools, add_generation_prompt=prompt))


@cache
def _template() -> Any:
    environment = Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters["tojson"] = partial(json.dumps, ensure_ascii=False)
    return environment.from_string((Path(training.__file__).parent / "template.jinja").read_text())


def read_metrics(text: str) -> dict[str, int]:
    """The counts of tokens looked up and found in vLLM's /metrics, over all engines of the server."""
    counts = {"queries": 0, "hits": 0}
    for name, value in _COUNT.findall(text):
        counts[name] += int(float(value))
    return counts
