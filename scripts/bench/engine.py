"""The prefix cache of a real engine, by its own counts: vLLM with a tiny untrained Qwen3 is asked what a pipeline asked.

Random weights do not answer as the stand-in did, whose answers stand in the next prompts. So after each request the engine is
shown prompt and answer together: then its cache holds what it would hold had it written the answer itself.
"""

from __future__ import annotations

import asyncio
import shutil
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from core.serving import EngineSettings, serve
from core.settings import typed
from generation.llm.base import Completion, Request
from generation.llm.openai import OpenAILLM
from scripts.bench.prefix_cache_sim import PrefixCache, Served, Tally, read_metrics, thoughtful
from scripts.bench.recorded_run import Played
from scripts.launch import CONF
from training.model import prepare_base
from training.settings import ModelSettings

MAX_LENGTH = 16_384


@dataclass
class Asked:
    """What an engine said of the requests that it was asked: by role of those that count, and added up over all."""

    by_role: dict[str, Tally] = field(default_factory=dict)
    queries: int = 0
    hits: int = 0


@dataclass(frozen=True)
class Verdict:
    """The engine's hits by role, what the simulated cache says of the same requests, and as a check the engine's counters
    beside what it said request by request."""

    engine: dict[str, Tally]
    simulated: dict[str, Tally]
    counters: dict[str, int]
    added_up: dict[str, int]


def ask_vllm(played: Played, counted: frozenset[str], dialogues: int, thinking: int, directory: Path) -> Verdict:
    """So many of the counted dialogues, after as many others have warmed the cache."""
    folder = directory / "engine"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = list(dict.fromkeys(request.affinity for request in played.requests))
    warming = [name for name in names if name not in counted][:dialogues]
    chosen = [name for name in names if name in counted][:dialogues]
    _build(played, folder / "model")
    settings = EngineSettings(
        device="cpu",
        max_model_len=MAX_LENGTH,
        max_num_seqs=16,
        tool_call_parser="hermes",
        extra_arguments=("--enable-prompt-tokens-details",),
    )
    asked = Asked()
    with serve(folder / "model", settings, folder, name="tiny") as (url,):
        asyncio.run(_ask(url, played, warming, thinking, Asked()))
        before = metrics(url)
        asyncio.run(_ask(url, played, chosen, thinking, asked))
        after = metrics(url)
    return Verdict(
        engine=dict(sorted(asked.by_role.items())),
        simulated=dict(sorted(_simulated(played, warming, chosen).items())),
        counters={name: after[name] - before[name] for name in after},
        added_up={"queries": asked.queries, "hits": asked.hits},
    )


def _build(played: Played, directory: Path) -> None:
    """The tiny model of conf/model/, its vocabulary learnt from the dialogues."""
    made = [outcome.dialogue for outcome in played.outcomes if outcome.status == "accepted" and outcome.dialogue]
    tiny = OmegaConf.load(CONF / "model" / "tiny.yaml")
    assert isinstance(tiny, DictConfig)
    prepare_base(typed(tiny, ModelSettings), made, 0, directory)


async def _ask(url: str, played: Played, names: Sequence[str], thinking: int, asked: Asked) -> None:
    """In the order in which the pipeline asked, one after the other."""
    writing = OpenAILLM([url], sampling={"max_tokens": 1}, structured=[])
    reading = OpenAILLM([url], sampling={"max_tokens": 1}, structured=[], extra_body={"add_generation_prompt": False})
    try:
        for request in played.requests:
            if request.affinity not in names:
                continue
            messages = tuple(thoughtful(message, thinking) for message in request.messages)
            plain = replace(request, messages=messages, json_schema=None)
            completion = await writing.complete(plain)
            _count(asked, completion)
            asked.by_role.setdefault(request.role, Tally()).add(_served(request, completion), completion.cached_tokens)
            answer = thoughtful(played.answers[request.key].message, thinking)
            _count(asked, await reading.complete(replace(plain, messages=(*messages, answer))))
    finally:
        await writing.close()
        await reading.close()


def _count(asked: Asked, completion: Completion) -> None:
    asked.queries += completion.prompt_tokens
    asked.hits += completion.cached_tokens


def _served(request: Request, completion: Completion) -> Served:
    return Served(request.role, request.affinity, completion.prompt_tokens, completion.completion_tokens, ())


def _simulated(played: Played, warming: Sequence[str], chosen: Sequence[str]) -> dict[str, Tally]:
    """The same requests at one cache that nothing has to leave."""
    cache, made = PrefixCache(1 << 30), dict[str, Tally]()
    for names in (warming, chosen):
        for request in played.served:
            if request.affinity in names:
                cached = cache.serve(request)
                if names is chosen:
                    made.setdefault(request.role, Tally()).add(request, cached)
    return made


def metrics(url: str) -> dict[str, int]:
    """What the engine counted since it was started: prompt tokens looked up, and those of them that were cached."""
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/metrics") as response:
        return read_metrics(response.read().decode())
