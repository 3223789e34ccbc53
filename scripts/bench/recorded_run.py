"""The real pipelines of conf/, played by the stand-in and recorded, so that a mock server can play the model again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from core.messages import UserMessage
from core.provenance import Provenance
from core.server_protocol import request_seed
from core.settings import UserError, typed
from generation.build import build
from generation.llm.base import LLM, Completion, Request
from generation.outcomes import Outcome
from generation.pipeline import Pipeline
from generation.run import GenerateSettings, GenerationComponents, build_pipeline
from generation.runner import Local, run
from generation.scripted.llm import ScriptedLLM
from generation.stages import ToolsetStage
from generation.tools.toolset import Toolset
from generation.toolset_runner import prepare
from scripts.bench.prefix_cache_sim import Served
from scripts.launch import CONF, instantiate


@dataclass
class Recorder:
    """The stand-in, with every request in the order of arrival and its answer."""

    llm: LLM
    asked: list[Request] = field(default_factory=list)
    answers: dict[str, Completion] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.llm.name

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        self.answers[request.key] = await self.llm.complete(request)
        return self.answers[request.key]

    async def close(self) -> None:
        await self.llm.close()


@dataclass(frozen=True)
class Played:
    """A pipeline's requests in the order in which they came, their answers, and its dialogues."""

    requests: tuple[Request, ...]
    answers: dict[str, Completion]
    served: tuple[Served, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def later(self) -> frozenset[str]:
        """The half of the dialogues with the higher numbers. They come later, though not in their order: a run begins the long ones
        among its last dialogues first."""
        names = sorted({request.affinity for request in self.requests})
        return frozenset(names[len(names) // 2 :])

    def long(self, turns: int) -> frozenset[str]:
        """Dialogues with at least so many user messages."""
        made = [outcome.dialogue for outcome in self.outcomes if outcome.dialogue]
        return frozenset(
            each.dialogue_id for each in made if sum(isinstance(m, UserMessage) for m in each.messages) >= turns
        )


@dataclass(frozen=True)
class Stage:
    """A composed generation with its toolsets made."""

    settings: GenerateSettings
    components: GenerationComponents
    toolsets: tuple[Toolset, ...]

    def pipeline(self, name: str, llm: LLM) -> Pipeline:
        """One of its pipelines, with this model in every role."""
        provenance = Provenance(config="benchmark", commit="benchmark")
        return build_pipeline(name, self.settings, self.components, llm, self.toolsets, provenance)

    async def play(
        self, pipeline: Pipeline, directory: Path, n: int, concurrency: int, on_outcome: Callable[[Outcome], None]
    ) -> None:
        """A whole run in this process, with its journal and its final files."""
        try:
            await run(pipeline, directory, n, concurrency, self.settings.attempts, Local(), on_outcome)
        finally:
            await pipeline.llm.close()


@contextmanager
def stage(
    directory: Path, pipeline: str, seed: int, domains: Sequence[str], overrides: Sequence[str] = ()
) -> Iterator[Stage]:
    """conf/generate.yaml for this pipeline on bundled databases (none named: all), which are made under `directory`."""
    words = [f"outputs={directory}", "llm=scripted", f"pipeline={pipeline}", f"seed={seed}", *overrides]
    words += [f"domains.names=[{','.join(domains)}]"] if domains else []
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = compose("generate", words)
    settings = typed(config, GenerateSettings)
    made = build(settings, instantiate)
    steps = [step for step in made.stages if isinstance(step, ToolsetStage)]
    toolsets = asyncio.run(
        prepare(made.toolset_sources, steps, ScriptedLLM(), directory / "toolsets.jsonl", 1, lambda toolset: None)
    )
    try:
        yield Stage(settings, made, tuple(toolsets))
    finally:
        for environments in made.environments.values():
            environments.close()


def write_answers(recorder: Recorder, run_seed: int, path: Path) -> None:
    """What scripts.bench.mock_server reads: the reply to each request by the seed that the client will send with it."""
    replies: dict[int, str] = {}
    for key, completion in recorder.answers.items():
        seed = request_seed(run_seed, key)
        if seed in replies:
            raise UserError(
                f"seed={run_seed} was given, but two requests would be told by {seed}; expected another seed"
            )
        replies[seed] = json.dumps(_reply(completion))
    path.write_text("".join(f"{seed}\t{reply}\n" for seed, reply in replies.items()))


def _reply(completion: Completion) -> dict[str, Any]:
    usage = {"prompt_tokens": completion.prompt_tokens, "completion_tokens": completion.completion_tokens}
    message = completion.message.model_dump(exclude_none=True)
    return {"choices": [{"message": message, "finish_reason": completion.finish_reason}], "usage": usage}
