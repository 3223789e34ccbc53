"""The prefix-cache hits that a real vLLM reports, serving a tiny untrained Qwen3, for a pipeline's recorded requests.

Random weights do not give the stand-in's answers, which are part of the following prompts. So after each request the
engine gets prompt and answer together: its cache then has the content it would have had after writing that answer
itself.
"""

from __future__ import annotations

import asyncio
import shutil
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from core.server_protocol import open_url
from core.serving import EngineSettings, serve
from core.settings import typed
from generation.llm.base import Completion, Request
from generation.llm.openai import OpenAILLM
from scripts.bench.prefix_cache_sim import EngineRequest, PrefixCache, Tally, lengthen_reasoning, read_metrics
from scripts.bench.recorded_run import RecordedRun
from scripts.launch import CONF
from training.base_model import prepare_base
from training.settings import ModelSettings

MAX_LENGTH = 16_384


@dataclass
class EngineHits:
    """The hits that an engine reported: of the counted requests by role, and summed over all requests."""

    by_role: dict[str, Tally] = field(default_factory=dict)
    queries: int = 0
    hits: int = 0


@dataclass(frozen=True)
class CacheComparison:
    """The engine's hits by role, those of the simulated cache for the same requests, and as a check the engine's
    counters and the sum of its responses."""

    engine: dict[str, Tally]
    simulated: dict[str, Tally]
    counters: dict[str, int]
    summed: dict[str, int]


def measure_vllm(
    recorded_run: RecordedRun, counted: frozenset[str], dialogues: int, thinking: int, directory: Path
) -> CacheComparison:
    """Measure `dialogues` of the counted dialogues, after as many others have warmed the cache."""
    folder = directory / "engine"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = list(dict.fromkeys(request.affinity for request in recorded_run.requests))
    warming = [name for name in names if name not in counted][:dialogues]
    chosen = [name for name in names if name in counted][:dialogues]
    _build(recorded_run, folder / "model")
    settings = EngineSettings(device="cpu", max_model_len=MAX_LENGTH, max_num_seqs=16)
    measured = EngineHits()
    with serve(folder / "model", settings, folder, name="tiny") as (url,):
        asyncio.run(_send(url, recorded_run, warming, thinking, EngineHits()))
        before = metrics(url)
        asyncio.run(_send(url, recorded_run, chosen, thinking, measured))
        after = metrics(url)
    return CacheComparison(
        engine=dict(sorted(measured.by_role.items())),
        simulated=dict(sorted(_simulated(recorded_run, warming, chosen).items())),
        counters={name: after[name] - before[name] for name in after},
        summed={"queries": measured.queries, "hits": measured.hits},
    )


def _build(recorded_run: RecordedRun, directory: Path) -> None:
    """Build the tiny model of conf/model/ with a vocabulary learnt from the dialogues."""
    accepted = [
        outcome.dialogue for outcome in recorded_run.outcomes if outcome.status == "accepted" and outcome.dialogue
    ]
    tiny = OmegaConf.load(CONF / "model" / "tiny.yaml")
    assert isinstance(tiny, DictConfig)
    prepare_base(typed(tiny, ModelSettings), accepted, 0, directory)


async def _send(url: str, recorded_run: RecordedRun, names: Sequence[str], thinking: int, hits: EngineHits) -> None:
    """Send the requests of these dialogues one after the other, in the pipeline's order, and count the hits."""
    writing = OpenAILLM([url], sampling={"max_tokens": 1}, structured=[])
    reading = OpenAILLM([url], sampling={"max_tokens": 1}, structured=[], extra_body={"add_generation_prompt": False})
    try:
        for request in recorded_run.requests:
            if request.affinity not in names:
                continue
            messages = tuple(lengthen_reasoning(message, thinking) for message in request.messages)
            plain = replace(request, messages=messages, json_schema=None)
            completion = await writing.complete(plain)
            _count(hits, completion)
            hits.by_role.setdefault(request.role, Tally()).add(
                _engine_request(request, completion), completion.cached_tokens
            )
            answer = lengthen_reasoning(recorded_run.answers[request.key].message, thinking)
            _count(hits, await reading.complete(replace(plain, messages=(*messages, answer))))
    finally:
        await writing.close()
        await reading.close()


def _count(hits: EngineHits, completion: Completion) -> None:
    assert completion.prompt_tokens is not None, "vLLM counts tokens"
    hits.queries += completion.prompt_tokens
    hits.hits += completion.cached_tokens


def _engine_request(request: Request, completion: Completion) -> EngineRequest:
    assert completion.prompt_tokens is not None, "vLLM counts tokens"
    assert completion.completion_tokens is not None, "vLLM counts tokens"
    return EngineRequest(request.role, request.affinity, completion.prompt_tokens, completion.completion_tokens, ())


def _simulated(recorded_run: RecordedRun, warming: Sequence[str], chosen: Sequence[str]) -> dict[str, Tally]:
    """The hits of the same requests in a simulated cache without evictions."""
    cache, by_role = PrefixCache(1 << 30), dict[str, Tally]()
    for names in (warming, chosen):
        for request in recorded_run.engine_requests:
            if request.affinity in names:
                cached = cache.serve(request)
                if names is chosen:
                    by_role.setdefault(request.role, Tally()).add(request, cached)
    return by_role


def metrics(url: str) -> dict[str, int]:
    """The engine's counters since its start: prompt tokens looked up, and cached ones among them."""
    with open_url(urllib.request.Request(f"{url.removesuffix('/v1')}/metrics"), 60) as response:
        return read_metrics(response.read().decode())
