"""The smallest value of each setting is accepted; a smaller one is refused and named."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from core.serving import EngineSettings
from core.settings import Settings
from evaluation.bfcl.benchmark import BfclSettings
from evaluation.heldout.settings import HeldoutSettings
from evaluation.targets import EvaluateSettings
from generation.dialogue.parallel import ParallelSettings
from generation.dialogue.personas import UserSettings
from generation.dialogue.setup import RolloutSettings
from generation.environments.sql import SqlEnvironmentSettings
from generation.llm.transport import RetryPolicy
from generation.run import GenerateSettings
from generation.runner import AttemptSettings
from generation.stages import SchemasSettings, ValidationSettings
from generation.start_states.start_states import StartSettings
from generation.tasks.settings import TaskSettings
from generation.tools.from_questions import ToolmakingSettings
from training.mixture import MixtureSettings
from training.settings import OptimizerSettings, TinySettings, TrainSettings

SMALLEST: dict[type[Settings], dict[str, int]] = {
    EngineSettings: {"replicas": 1, "tensor_parallel": 1},
    GenerateSettings: {
        "n": 1,
        "concurrency": 1,
        "max_tools": 3,
        "policy_rules": 0,
        "parallel_calls": 0.0,
        "rows_per_table": 1,
    },
    AttemptSettings: {"session": 1, "total": 1},
    RolloutSettings: {"max_user_turns": 1, "max_steps": 1, "agent_attempts": 1},
    UserSettings: {"attempts": 1},
    TaskSettings: {"attempts": 1, "rows_in_view": 1},
    SchemasSettings: {"attempts": 1},
    ParallelSettings: {"share": 0.0, "max_calls": 2},
    ValidationSettings: {"votes": 1, "attempts": 1},
    ToolmakingSettings: {"max_tools": 3, "attempts": 1, "expansion": 0},
    StartSettings: {"branches": 1},
    SqlEnvironmentSettings: {"row_cap": 1},
    RetryPolicy: {"retries": 0},
    TinySettings: {"vocabulary": 512},
    OptimizerSettings: {"weight_decay": 0, "warmup": 0},
    TrainSettings: {
        "processes": 1,
        "data_workers": 1,
        "max_tokens": 64,
        "row_tokens": 64,
        "batch_size": 1,
        "max_steps": 1,
        "train_tokens": 1,
        "evaluations": 1,
    },
    MixtureSettings: {"validation_limit": 1},
    EvaluateSettings: {"trials": 1, "concurrency": 1},
    HeldoutSettings: {"dialogues": 1, "max_tools": 3, "rows_per_table": 1, "outage_s": 0},
    BfclSettings: {"attempts": 1, "retries": 0},
}
ABOVE_ZERO: dict[type[Settings], tuple[str, ...]] = {
    EngineSettings: ("gpu_memory_share",),
    SqlEnvironmentSettings: ("time_limit_s",),
    OptimizerSettings: ("learning_rate", "beta2", "max_grad_norm"),
    TrainSettings: ("epochs",),
    HeldoutSettings: ("timeout_s",),
    BfclSettings: ("timeout_s",),
}
CASES = [(kind, name, least, least - 1) for kind, fields in SMALLEST.items() for name, least in fields.items()]
CASES += [(kind, name, 1e-9, 0) for kind, names in ABOVE_ZERO.items() for name in names]


def _refused(kind: type[Settings], name: str, value: float) -> bool:
    """Whether the class refuses this value of a setting, whatever it says about the others."""
    with pytest.raises(ValidationError) as caught:
        kind.model_validate({name: value, "no such key": None})
    return any(problem["loc"][0] == name for problem in caught.value.errors())


@pytest.mark.parametrize(("kind", "name", "least", "less"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_the_smallest_value_is_accepted_and_no_smaller_one(
    kind: type[Settings], name: str, least: float, less: float
) -> None:
    assert not _refused(kind, name, least)
    assert _refused(kind, name, less)
