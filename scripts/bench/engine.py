"""The prefix cache of a real engine, by its own counts: vLLM with a tiny untrained Qwen3 is asked what a pipeline asked."""

from __future__ import annotations

import asyncio
import re
import shutil
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from core.serving import EngineSettings, serve
from core.settings import typed
from generation.llm.base import Request
from generation.llm.openai import OpenAILLM
from generation.running import run_workers
from scripts.bench.played import Played
from scripts.launch import CONF
from training.model import prepare_base
from training.settings import ModelSettings

ANSWER_TOKENS = 4
"""The answers are of no interest: what is asked next holds the stand-in's."""
_COUNT = re.compile(r"^vllm:prefix_cache_(queries|hits)_total\S* ([0-9.e+]+)$", re.M)


def hits_of_vllm(
    played: Played, counted: frozenset[str], talk: Sequence[str], dialogues: int, directory: Path
) -> dict[str, Any]:
    """Hit rates of the `talk` roles, of the others and of all, after as many other dialogues have warmed the cache."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    model = directory / "model"
    made = [outcome.dialogue for outcome in played.outcomes if outcome.status == "accepted" and outcome.dialogue]
    tiny = OmegaConf.load(CONF / "model" / "tiny.yaml")
    assert isinstance(tiny, DictConfig)
    prepare_base(typed(tiny, ModelSettings), made, 0, model)
    names = list(dict.fromkeys(request.affinity for request in played.requests))
    first = [name for name in names if name not in counted][:dialogues]
    then = [name for name in names if name in counted][:dialogues]
    settings = EngineSettings(device="cpu", max_model_len=16_384, max_num_seqs=16, tool_call_parser="hermes")
    with serve(model, settings, directory, name="tiny") as (url,):
        asyncio.run(_ask(url, played.requests, first))
        talked = _counts(url, [r for r in played.requests if r.role in talk], then)
        rest = _counts(url, [r for r in played.requests if r.role not in talk], then)
    both = {key: talked[key] + rest[key] for key in talked}
    return {
        "talk": talked["hits"] / talked["queries"],
        "others": rest["hits"] / rest["queries"],
        "all": both["hits"] / both["queries"],
        "tokens": both["queries"],
        "dialogues": len(then),
        "tokenizer": "the tiny model's, of 2,048 pieces",
    }


def _counts(url: str, requests: Sequence[Request], names: Sequence[str]) -> dict[str, float]:
    """The engine's counts of tokens asked and found while it is asked this."""
    before = _metrics(url)
    asyncio.run(_ask(url, requests, names))
    return {key: value - before[key] for key, value in _metrics(url).items()}


def _metrics(url: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/metrics") as response:
        found = _COUNT.findall(response.read().decode())
    counts = {"queries": 0.0, "hits": 0.0}
    for name, value in found:
        counts[name] += float(value)
    return counts


async def _ask(url: str, requests: Sequence[Request], names: Sequence[str]) -> None:
    """Each dialogue's requests one after the other, the dialogues beside each other."""
    llm = OpenAILLM([url], sampling={"max_tokens": ANSWER_TOKENS}, structured=[])
    waiting: Iterator[str] = iter(names)

    async def work() -> None:
        for name in waiting:
            for request in requests:
                if request.affinity == name:
                    await llm.complete(replace(request, json_schema=None))

    try:
        await run_workers(4, work)
    finally:
        await llm.close()
