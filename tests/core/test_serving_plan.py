"""What serving a model takes, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.serving import EngineSettings
from core.serving_plan import ServingAssumptions, serving_plan


def lines(weights_gb: float, memory_gb: float, conversations: int = 10, **settings: int) -> list[str]:
    assumed = ServingAssumptions(gpu_memory_gb=memory_gb, weights_gb=weights_gb, kv_kb_per_token=100)
    return list(serving_plan("owner/model", EngineSettings(**settings), assumed, conversations, 5000).lines)


def test_what_fits_is_said_in_one_line() -> None:
    # 0.9 × 80 GB less the weights; ten conversations have 5 GB.
    assert lines(16, 80) == [
        "memory: owner/model has 16.0 GB of weights; 1 GPU for each engine, with 56.0 GB for KV cache"
    ]


def test_large_weights_take_several_gpus() -> None:
    assert "2 GPUs for each engine, with 83.0 GB" in lines(61, 80)[0]
    assert "4 GPUs for each engine" in lines(61, 80, tensor_parallel=4)[0]


def test_more_conversations_than_fit_are_queued_and_a_model_that_does_not_fit_is_missing() -> None:
    assert lines(16, 24, conversations=100)[1] == (
        "all conversations at once have 50.0 GB of keys and values; with 5.6 GB vLLM queues some of them"
    )
    assert lines(16, 16, tensor_parallel=1)[1] == (
        "missing: owner/model does not fit on 1 GPU for each engine: serve a smaller model"
    )


def test_weights_are_those_of_the_files_or_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x" * 2_000_000)
    plan = serving_plan(tmp_path, EngineSettings(), ServingAssumptions(), 1, 1)
    assert plan.weights == 0.002
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (unknown,) = serving_plan("no-such-owner/no-such-model", EngineSettings(), ServingAssumptions(), 1, 1).lines
    assert unknown == (
        "memory: the size of no-such-owner/no-such-model is not known here; weights_gb under assume tells it"
    )
    assert "the trained model" in next(serving_plan(None, EngineSettings(), ServingAssumptions(), 1, 1).lines)
