"""make bench-prefix: how much of the prompts engines have cached already, and what that makes user-oriented dialogues cost.

The real pipelines are played by the stand-in; their requests, in the chat format of Qwen3-Thinking, go to simulated prefix caches
with and without affinity, and with engine=true to a real vLLM. Only the later half of the dialogues counts, so that the caches
are warm, as they are in all but the first minutes of a run.
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
from scripts.bench.prefix_cache_sim import BLOCK, PrefixCache, Served, Tally, served, total
from scripts.bench.recorded_run import Played, Recorder, stage
from scripts.bench.report import BenchSettings, Figure, Report, main

DIALOGUE: tuple[str, ...] = ("agent", "user")
"""The roles that talk to each other; the others prepare or judge what they say."""


class Costs(Settings):
    """What a token costs, in units of a token that is decoded in a full batch over an empty context.

    Engines take up prompts about ten times as fast as they write; a cached token is looked up, not computed; to decode over a
    long context costs more, twice as much at `context_of_two` tokens. The stand-in hardly thinks: each answer is given
    `thinking` tokens of reasoning.
    """

    prefill: float = 0.1
    cached: float = 0.0
    context_of_two: int = 16_000
    thinking: int = 200

    def of(self, tally: Tally) -> float:
        """All requests of a tally."""
        context = (tally.prompt + tally.generated / 2) / max(tally.requests, 1)
        decoding = tally.generated * (1 + context / self.context_of_two)
        return self.prefill * (tally.prompt - tally.cached) + self.cached * tally.cached + decoding


class PrefixSettings(BenchSettings):
    """`dialogues` are played, `concurrency` at a time, on `domains`, over `replicas` with `blocks` of 16 tokens each. The hit
    rate is that of dialogues of `pipeline` with at least `turns` user messages. `engine` true asks vLLM too, with
    `engine_dialogues`."""

    pipeline: str = "user_oriented_exec"
    dialogues: int = Field(default=384, ge=2)
    concurrency: int = Field(default=48, ge=1)
    domains: tuple[str, ...] = ("clinic", "gym", "library")
    tasks_per_dialogue: int = 4
    turns: int = 10
    replicas: int = Field(default=16, ge=1)
    blocks: int = Field(default=8192, ge=1)
    costs: Costs = Costs()
    engine: bool = False
    engine_dialogues: int = Field(default=6, ge=1)


def measure(settings: PrefixSettings) -> Report:
    played = play(settings, settings.pipeline, (f"tasks_per_dialogue={settings.tasks_per_dialogue}",))
    counted = played.later & played.long(settings.turns)
    near = tallies(played, settings, counted, affinity=True)
    apart = tallies(played, settings, counted, affinity=False)
    figures = [
        Figure(name="hit of user and agent, affinity", value=_hit(near, DIALOGUE), target=0.9, better="higher"),
        Figure(name="hit of all roles, affinity", value=_hit(near), target=0.9, better="higher"),
    ]
    notes: dict[str, Any] = {
        f"dialogues with {settings.turns} turns": len(counted),
        "tokens": f"words in pieces of 6 letters, digits by 3, signs; blocks of {BLOCK}",
        "hit with affinity": _hits(near),
        "hit with random routing": _hits(apart),
    }
    model, assumed = modelled(settings)
    figures += model
    notes["cost model"] = assumed
    if settings.engine:
        from scripts.bench.engine import ask_vllm  # noqa: PLC0415  torch and vLLM, which nothing else here needs

        said = ask_vllm(played, counted, settings.engine_dialogues, settings.costs.thinking, settings.directory)
        value = _hit(said.engine, DIALOGUE)
        figures.append(Figure(name="hit of user and agent, vLLM", value=value, target=0.9, better="higher"))
        notes["vLLM, by its own counts"] = _hits(said.engine)
        notes["the simulated cache, same requests"] = _hits(said.simulated)
        notes["vLLM's counters and its counts added up"] = [said.counters, said.added_up]
    return Report(name="prefix", inputs=settings.model_dump(mode="json"), figures=tuple(figures), notes=notes)


def play(settings: PrefixSettings, pipeline: str, overrides: Sequence[str] = ()) -> Played:
    folder = settings.directory / "prefix"
    shutil.rmtree(folder, ignore_errors=True)
    outcomes: list[Outcome] = []
    with stage(folder, pipeline, settings.seed, settings.domains, overrides) as made:
        recorder = Recorder(made.components.llm())
        lines = made.pipeline(pipeline, recorder)
        asyncio.run(made.play(lines, folder / "run", settings.dialogues, settings.concurrency, outcomes.append))
    shutil.rmtree(folder)
    thinking = settings.costs.thinking
    return Played(
        requests=tuple(recorder.asked),
        answers=recorder.answers,
        served=tuple(served(request, recorder.answers[request.key], thinking) for request in recorder.asked),
        outcomes=tuple(outcomes),
    )


def tallies(played: Played, settings: PrefixSettings, counted: frozenset[str], affinity: bool) -> dict[str, Tally]:
    """What came, by role, of the counted dialogues among all of them."""
    caches = [PrefixCache(settings.blocks) for _ in range(settings.replicas)]
    route = _home(settings.replicas) if affinity else _anywhere(settings.replicas, settings.seed)
    made: dict[str, Tally] = {}
    for request in played.served:
        cached = caches[route(request)].serve(request)
        if request.affinity in counted:
            made.setdefault(request.role, Tally()).add(request, cached)
    return dict(sorted(made.items()))


def _home(replicas: int) -> Callable[[Served], int]:
    homes: dict[str, int] = {}

    def route(request: Served) -> int:
        if request.affinity not in homes:
            homes[request.affinity] = rendezvous(request.affinity, replicas)[0]
        return homes[request.affinity]

    return route


def _anywhere(replicas: int, seed: int) -> Callable[[Served], int]:
    rng = Random(f"{seed}/routing")
    return lambda request: rng.randrange(replicas)


def _hit(made: dict[str, Tally], roles: Sequence[str] = ()) -> float:
    return total(tally for role, tally in made.items() if not roles or role in roles).hit


def _hits(made: dict[str, Tally]) -> dict[str, Any]:
    """By role: the hit rate, requests, and tokens of a request."""
    table: dict[str, Any] = {"all": round(_hit(made), 4), "user and agent": round(_hit(made, DIALOGUE), 4)}
    for role, tally in made.items():
        each = max(tally.requests, 1)
        table[role] = {
            "hit": round(tally.hit, 4),
            "requests": tally.requests,
            "prompt": tally.prompt // each,
            "computed": (tally.prompt - tally.cached) // each,
            "generated": tally.generated // each,
        }
    return table


def modelled(settings: PrefixSettings) -> tuple[list[Figure], dict[str, Any]]:
    """Table 4's comparison, user-oriented over task-oriented with simulated tools, as the cost model has it."""
    throughput, cost = {}, {}
    table: dict[str, Any] = {"assumptions": settings.costs.model_dump()}
    for name in ("task_oriented", "user_oriented"):
        played = play(settings, name)
        made = tallies(played, settings, played.later, affinity=True)
        spent = sum(settings.costs.of(tally) for tally in made.values())
        accepted = [o for o in played.outcomes if o.status == "accepted" and o.dialogue_id in played.later]
        throughput[name] = total(made.values()).generated / spent
        cost[name] = spent / max(len(accepted), 1)
        tasks = sum(len(outcome.dialogue.tasks) for outcome in accepted if outcome.dialogue)
        table[name] = {
            "generated a unit of cost": round(throughput[name], 4),
            "cost a dialogue": round(cost[name]),
            "cost a task": round(spent / max(tasks, 1)),
            "hits": _hits(made),
        }
    figures = [
        Figure(
            name="modelled throughput, user- over task-oriented (paper 0.46)",
            value=throughput["user_oriented"] / throughput["task_oriented"],
            target=1.0,
            better="higher",
        ),
        Figure(
            name="modelled cost of a dialogue, user- over task-oriented (paper 6.4)",
            value=cost["user_oriented"] / cost["task_oriented"],
            target=2.5,
            better="lower",
        ),
    ]
    return figures, table


if __name__ == "__main__":
    main(PrefixSettings, measure)
