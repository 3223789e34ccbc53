"""The plan of an evaluation: trials, requests, tokens, hours and memory, from assumptions that are printed with it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from core.messages import Frozen
from core.serving_plan import ServingAssumptions
from core.settings import Settings


class TrialAssumptions(Settings):
    """The mean trial of a benchmark."""

    requests: float = Field(gt=0, description="requests to the evaluated model")
    prompt_tokens: float = Field(gt=0, description="tokens of a request's prompt")
    generated_tokens: float = Field(gt=0, description="tokens of an answer, reasoning included")


class AssumeSettings(Settings):
    """The assumptions of a plan. Speeds are per GPU."""

    trials: dict[str, TrialAssumptions] = Field(
        description="benchmark -> its mean trial; one that is not named has that of heldout"
    )
    cached_share: float = Field(ge=0, le=1, description="share of the prompt tokens that the prefix cache serves")
    prefill_tokens_per_s: float = Field(gt=0, description="prompt tokens per second and GPU")
    decode_tokens_per_s: float = Field(gt=0, description="generated tokens per second and GPU")
    start_s: float = Field(ge=0, description="seconds until an engine answers")
    gpus: int = Field(ge=1, description="GPUs of the planned evaluation")
    serving: ServingAssumptions = Field(description="the evaluated model and its GPUs")
    user: ServingAssumptions = Field(
        default=ServingAssumptions(),
        description="the model that a benchmark serves as the simulated user, and its GPUs",
    )

    def trial(self, benchmark: str) -> TrialAssumptions:
        """The mean trial of a benchmark."""
        return self.trials.get(benchmark) or self.trials["heldout"]


class Estimate(Frozen):
    """The estimate for one benchmark and all models together."""

    benchmark: str
    trials: int
    requests: int
    prompt_tokens: int
    generated_tokens: int
    hours: float


def estimates(sizes: Mapping[str, int], trials: int, models: int, assumed: AssumeSettings) -> list[Estimate]:
    """`sizes` has the tasks of each benchmark."""
    found = []
    for name, tasks in sizes.items():
        trial = assumed.trial(name)
        count = tasks * trials * models
        requests = count * trial.requests
        prompt, generated = requests * trial.prompt_tokens, requests * trial.generated_tokens
        seconds = prompt * (1 - assumed.cached_share) / assumed.prefill_tokens_per_s
        seconds += generated / assumed.decode_tokens_per_s
        found.append(
            Estimate(
                benchmark=name,
                trials=count,
                requests=round(requests),
                prompt_tokens=round(prompt),
                generated_tokens=round(generated),
                hours=round((seconds / assumed.gpus + models * assumed.start_s / len(sizes)) / 3600, 3),
            )
        )
    return found
