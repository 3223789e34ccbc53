"""Run the pipelines of conf/ with the scripted stand-in and record its answers, so that a mock server can replay
them."""

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
from generation.runner import Local, run_pipeline
from generation.scripted.llm import ScriptedLLM
from generation.stages import ToolsetStage
from generation.tools.toolset import Toolset
from generation.toolset_runner import run_toolset_stages
from scripts.bench.prefix_cache_sim import EngineRequest
from scripts.launch import CONF, instantiate


@dataclass
class RecordingLLM:
    """An LLM that records every request, in order of arrival, and its answer."""

    llm: LLM
    requests: list[Request] = field(default_factory=list)
    answers: dict[str, Completion] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.llm.name

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        self.answers[request.key] = await self.llm.complete(request)
        return self.answers[request.key]

    async def close(self) -> None:
        await self.llm.close()


@dataclass(frozen=True)
class RecordedRun:
    """A pipeline's requests in order of arrival, their answers, and its dialogues."""

    requests: tuple[Request, ...]
    answers: dict[str, Completion]
    engine_requests: tuple[EngineRequest, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def second_half(self) -> frozenset[str]:
        """The dialogues with the higher numbers. They run later, though not in order: a run starts the long ones among
        its last dialogues first."""
        names = sorted({request.affinity for request in self.requests})
        return frozenset(names[len(names) // 2 :])

    def with_user_turns(self, least: int) -> frozenset[str]:
        """The dialogues with at least `least` user messages."""
        dialogues = [outcome.dialogue for outcome in self.outcomes if outcome.dialogue]
        return frozenset(
            dialogue.dialogue_id
            for dialogue in dialogues
            if sum(isinstance(message, UserMessage) for message in dialogue.messages) >= least
        )


@dataclass(frozen=True)
class ComposedGeneration:
    """A composed conf/generate.yaml with its toolsets."""

    settings: GenerateSettings
    components: GenerationComponents
    toolsets: tuple[Toolset, ...]

    def pipeline(self, name: str, llm: LLM) -> Pipeline:
        """The pipeline `name`, with `llm` in every role."""
        provenance = Provenance(config="benchmark", commit="benchmark")
        return build_pipeline(name, self.settings, self.components, llm, self.toolsets, provenance)

    async def run(
        self, pipeline: Pipeline, directory: Path, n: int, concurrency: int, on_outcome: Callable[[Outcome], None]
    ) -> None:
        """Generate `n` dialogues in this process, with the journal and final files of any run."""
        try:
            await run_pipeline(pipeline, directory, n, concurrency, self.settings.attempts, Local(), on_outcome)
        finally:
            await pipeline.llm.close()


@contextmanager
def composed_generation(
    directory: Path, pipeline: str, seed: int, domains: Sequence[str], overrides: Sequence[str] = ()
) -> Iterator[ComposedGeneration]:
    """Compose conf/generate.yaml for this pipeline and build its toolsets under `directory`, from the bundled databases
    named in `domains` (empty: all)."""
    words = ["profile=tiny", f"outputs={directory}", "llm=scripted", f"pipeline={pipeline}", f"seed={seed}", *overrides]
    words += [f"domains.names=[{','.join(domains)}]"] if domains else []
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = compose("generate", words)
    settings = typed(config, GenerateSettings)
    components = build(settings, instantiate)
    steps = [step for step in components.stages if isinstance(step, ToolsetStage)]
    toolsets = asyncio.run(
        run_toolset_stages(
            components.toolset_sources, steps, ScriptedLLM(), directory / "toolsets.jsonl", 1, lambda toolset: None
        )
    )
    try:
        yield ComposedGeneration(settings, components, tuple(toolsets))
    finally:
        for environments in components.environments.values():
            environments.close()


def write_answers(recorder: RecordingLLM, run_seed: int, path: Path) -> None:
    """Write the answers for scripts.bench.mock_server: the reply to each request by the seed that the client sends with
    it."""
    replies: dict[int, str] = {}
    for key, completion in recorder.answers.items():
        seed = request_seed(run_seed, key)
        if seed in replies:
            raise UserError(
                f"seed={run_seed} was given, but two requests would have the seed {seed}; expected another seed"
            )
        replies[seed] = json.dumps(_reply(completion))
    path.write_text("".join(f"{seed}\t{reply}\n" for seed, reply in replies.items()))


def _reply(completion: Completion) -> dict[str, Any]:
    usage = {"prompt_tokens": completion.prompt_tokens, "completion_tokens": completion.completion_tokens}
    message = completion.message.model_dump(exclude_none=True)
    return {"choices": [{"message": message, "finish_reason": completion.finish_reason}], "usage": usage}
