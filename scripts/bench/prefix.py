"""make bench-prefix: the prefix-cache hit rate of engines, and the resulting cost of user-oriented dialogues.

The scripted stand-in runs the real pipelines; their requests, in the chat format of Qwen3-Thinking, go to simulated
prefix caches with and without affinity, and with engine=true to a real vLLM. Only the second half of the dialogues
counts, so that the caches are warm, as they are in all but the first minutes of a run.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from pydantic import Field

from core.settings import Settings
from generation.llm.replicas import rendezvous
from generation.outcomes import Outcome
from scripts.bench.benchmark import BenchSettings, Metric, Report, main
from scripts.bench.prefix_cache_sim import BLOCK, EngineRequest, PrefixCache, Tally, engine_request, total
from scripts.bench.recorded_run import RecordedRun, RecordingLLM, composed_generation

DIALOGUE: tuple[str, ...] = ("agent", "user")
"""The roles of the conversation; the others prepare or judge it."""


class TokenCosts(Settings):
    """The cost of a token, in units of a token decoded in a full batch over an empty context.

    Engines process prompts about ten times as fast as they decode, look up cached tokens instead of computing them, and
    decode more slowly over a long context.
    """

    prefill: float = Field(default=0.1, description="cost of a computed prompt token")
    cached: float = Field(default=0.0, description="cost of a cached prompt token")
    context_of_two: int = Field(
        default=16_000, description="context length, in tokens, at which decoding costs twice as much"
    )
    thinking: int = Field(
        default=200, description="tokens of reasoning added to each answer of the stand-in, which hardly reasons"
    )

    def of(self, tally: Tally) -> float:
        """The cost of all requests of a tally."""
        context = (tally.prompt + tally.generated / 2) / max(tally.requests, 1)
        decoding = tally.generated * (1 + context / self.context_of_two)
        return self.prefill * (tally.prompt - tally.cached) + self.cached * tally.cached + decoding


class PrefixSettings(BenchSettings):
    """Settings of bench-prefix."""

    pipeline: str = Field(default="user_oriented_exec", description="pipeline whose hit rate is measured")
    dialogues: int = Field(default=384, ge=2, description="dialogues to generate")
    concurrency: int = Field(default=48, ge=1, description="dialogues at the same time")
    domains: tuple[str, ...] = Field(default=("clinic", "gym", "library"), description="bundled databases")
    tasks_per_dialogue: int = Field(default=4, description="tasks of a dialogue")
    turns: int = Field(default=10, description="the hit rate counts dialogues with at least this many user messages")
    replicas: int = Field(default=16, ge=1, description="engines")
    blocks: int = Field(default=8192, ge=1, description="cache size of an engine, in blocks of 16 tokens")
    costs: TokenCosts = TokenCosts()
    engine: bool = Field(default=False, description="also measure a real vLLM")
    engine_dialogues: int = Field(default=6, ge=1, description="dialogues for vLLM")


def measure(settings: PrefixSettings) -> Report:
    recorded_run = record(settings, settings.pipeline, (f"tasks_per_dialogue={settings.tasks_per_dialogue}",))
    counted = recorded_run.second_half & recorded_run.with_user_turns(settings.turns)
    affine = tallies(recorded_run, settings, counted, affinity=True)
    random = tallies(recorded_run, settings, counted, affinity=False)
    metrics = [
        Metric(name="hit rate of user and agent, affinity", value=_hit(affine, DIALOGUE), target=0.9, better="higher"),
        Metric(name="hit rate of all roles, affinity", value=_hit(affine), target=0.9, better="higher"),
    ]
    notes: dict[str, Any] = {
        f"dialogues with {settings.turns} turns": len(counted),
        "tokens": f"words in pieces of 6 letters, digits by 3, signs; blocks of {BLOCK}",
        "hit rate with affinity": _hits(affine),
        "hit rate with random routing": _hits(random),
    }
    cost_metrics, cost_notes = cost_comparison(settings)
    metrics += cost_metrics
    notes["cost model"] = cost_notes
    if settings.engine:
        from scripts.bench.engine import measure_vllm  # noqa: PLC0415 - needs the extra train; engine=false does not

        comparison = measure_vllm(
            recorded_run, counted, settings.engine_dialogues, settings.costs.thinking, settings.directory
        )
        value = _hit(comparison.engine, DIALOGUE)
        metrics.append(Metric(name="hit rate of user and agent, vLLM", value=value, target=0.9, better="higher"))
        notes["vLLM, by its responses"] = _hits(comparison.engine)
        notes["simulated cache, same requests"] = _hits(comparison.simulated)
        notes["vLLM's counters, and its responses summed"] = [comparison.counters, comparison.summed]
    return Report(name="prefix", inputs=settings.model_dump(mode="json"), metrics=tuple(metrics), notes=notes)


def record(settings: PrefixSettings, pipeline: str, overrides: Sequence[str] = ()) -> RecordedRun:
    """Run the pipeline with the stand-in and record it."""
    folder = settings.directory / "prefix"
    shutil.rmtree(folder, ignore_errors=True)
    outcomes: list[Outcome] = []
    with composed_generation(folder, pipeline, settings.seed, settings.domains, overrides) as generation:
        recorder = RecordingLLM(generation.components.llm())
        composed = generation.pipeline(pipeline, recorder)
        asyncio.run(generation.run(composed, folder / "run", settings.dialogues, settings.concurrency, outcomes.append))
    shutil.rmtree(folder)
    thinking = settings.costs.thinking
    return RecordedRun(
        requests=tuple(recorder.requests),
        answers=recorder.answers,
        engine_requests=tuple(
            engine_request(request, recorder.answers[request.key], thinking) for request in recorder.requests
        ),
        outcomes=tuple(outcomes),
    )


def tallies(
    recorded_run: RecordedRun, settings: PrefixSettings, counted: frozenset[str], affinity: bool
) -> dict[str, Tally]:
    """The cache hits of the counted dialogues by role, with the requests of all dialogues going to the caches."""
    caches = [PrefixCache(settings.blocks) for _ in range(settings.replicas)]
    route = _affinity_route(settings.replicas) if affinity else _random_route(settings.replicas, settings.seed)
    by_role: dict[str, Tally] = {}
    for request in recorded_run.engine_requests:
        cached = caches[route(request)].serve(request)
        if request.affinity in counted:
            by_role.setdefault(request.role, Tally()).add(request, cached)
    return dict(sorted(by_role.items()))


def _affinity_route(replicas: int) -> Callable[[EngineRequest], int]:
    homes: dict[str, int] = {}

    def route(request: EngineRequest) -> int:
        if request.affinity not in homes:
            homes[request.affinity] = rendezvous(request.affinity, replicas)[0]
        return homes[request.affinity]

    return route


def _random_route(replicas: int, seed: int) -> Callable[[EngineRequest], int]:
    rng = Random(f"{seed}/routing")
    return lambda request: rng.randrange(replicas)


def _hit(by_role: dict[str, Tally], roles: Sequence[str] = ()) -> float:
    return total(tally for role, tally in by_role.items() if not roles or role in roles).hit


def _hits(by_role: dict[str, Tally]) -> dict[str, Any]:
    """By role: the hit rate, the number of requests, and tokens per request."""
    table: dict[str, Any] = {"all": round(_hit(by_role), 4), "user and agent": round(_hit(by_role, DIALOGUE), 4)}
    for role, tally in by_role.items():
        requests = max(tally.requests, 1)
        table[role] = {
            "hit": round(tally.hit, 4),
            "requests": tally.requests,
            "prompt": tally.prompt // requests,
            "computed": (tally.prompt - tally.cached) // requests,
            "generated": tally.generated // requests,
        }
    return table


def cost_comparison(settings: PrefixSettings) -> tuple[list[Metric], dict[str, Any]]:
    """Table 4's comparison, user-oriented over task-oriented with simulated tools, according to the cost model."""
    throughput, cost = {}, {}
    table: dict[str, Any] = {"assumptions": settings.costs.model_dump()}
    for name in ("task_oriented", "user_oriented"):
        recorded_run = record(settings, name)
        by_role = tallies(recorded_run, settings, recorded_run.second_half, affinity=True)
        spent = sum(settings.costs.of(tally) for tally in by_role.values())
        accepted = [
            o for o in recorded_run.outcomes if o.status == "accepted" and o.dialogue_id in recorded_run.second_half
        ]
        throughput[name] = total(by_role.values()).generated / spent
        cost[name] = spent / max(len(accepted), 1)
        tasks = sum(len(outcome.dialogue.tasks) for outcome in accepted if outcome.dialogue)
        table[name] = {
            "generated tokens per unit of cost": round(throughput[name], 4),
            "cost per dialogue": round(cost[name]),
            "cost per task": round(spent / max(tasks, 1)),
            "hits": _hits(by_role),
        }
    metrics = [
        Metric(
            name="modelled throughput, user- over task-oriented (paper 0.46)",
            value=throughput["user_oriented"] / throughput["task_oriented"],
            target=1.0,
            better="higher",
        ),
        Metric(
            name="modelled cost of a dialogue, user- over task-oriented (paper 6.4)",
            value=cost["user_oriented"] / cost["task_oriented"],
            target=2.5,
            better="lower",
        ),
    ]
    return metrics, table


if __name__ == "__main__":
    main(PrefixSettings, measure)
