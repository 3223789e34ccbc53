"""The commands and variables with which vLLM is started, by the model, the settings and the machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import core.serving
from core.servers import Server
from core.serving import EngineSettings, GpuLayout, gpu_layout, serve, weights_bytes
from core.settings import UserError


def model_in(folder: Path, context: int = 8192, template: str = "<think> <tool_call>") -> Path:
    """The files of a model that say how it is served."""
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": context}))
    (folder / "chat_template.jinja").write_text(template)
    return folder


@pytest.fixture
def servers_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Server]]:
    """The servers that `serve` would start for a model with the given settings."""

    def start(model: Path, **settings: Any) -> list[Server]:
        started: list[Server] = []

        @contextmanager
        def record(servers: Sequence[Server], what: str, timeout_s: float) -> Iterator[Callable[[], tuple[str, ...]]]:
            started.extend(servers)
            yield lambda: ()

        monkeypatch.setattr("core.serving.launched", record)
        with serve(model, EngineSettings(**settings), tmp_path):
            return started

    return start


def option(server: Server, name: str) -> str | None:
    """The value of a command-line option; None if it is not given."""
    return server.command[server.command.index(name) + 1] if name in server.command else None


def test_serving_refuses_missing_models_and_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="is not a model: expected a directory"):
        serve(tmp_path, EngineSettings(), tmp_path).__enter__()
    model = model_in(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match="sees no GPU"):
        serve(model, EngineSettings(device="cuda"), tmp_path).__enter__()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    with pytest.raises(
        UserError, match="2 replicas × data_parallel 1 × tensor_parallel 2 need 4 GPUs, but this machine has 3"
    ):
        serve(model, EngineSettings(replicas=2, tensor_parallel=2), tmp_path).__enter__()


def test_each_replica_gets_its_own_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers_for: Callable[..., list[Server]]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    started = servers_for(model_in(tmp_path), replicas=2, tensor_parallel=2)
    assert [server.environment["CUDA_VISIBLE_DEVICES"] for server in started] == ["4,5", "6,7"]
    assert all("--enforce-eager" not in server.command for server in started)


GIB = 2**30


@pytest.mark.parametrize(
    ("gpus", "weights", "given", "layout"),
    [
        (8, 8 * GIB, {}, (8, 1, 1)),  # a server on each GPU
        (8, 8 * GIB, {"replicas": 1, "data_parallel": None}, (1, 8, 1)),  # one server, an engine on each
        (8, 61 * GIB, {}, (4, 1, 2)),  # 80 GiB × 0.9 × 0.8 hold 57.6 GiB
        (8, 57 * GIB, {}, (8, 1, 1)),
        (8, 240 * GIB, {"replicas": 1, "data_parallel": None}, (1, 1, 8)),
        (2, 240 * GIB, {}, (1, 1, 2)),  # it does not fit, and vLLM says so
        (8, 61 * GIB, {"tensor_parallel": 4}, (2, 1, 4)),
        (8, 61 * GIB, {"replicas": 2, "data_parallel": None}, (2, 2, 2)),
        (8, None, {}, (8, 1, 1)),
        (0, 61 * GIB, {"data_parallel": None}, (1, 1, 1)),
        (0, None, {"replicas": 2}, (2, 1, 1)),
    ],
)
def test_a_model_is_spread_over_all_gpus(
    gpus: int, weights: int | None, given: dict[str, Any], layout: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.serving._gpu_memory", lambda: 80 * GIB)
    assert gpu_layout(EngineSettings(**given), gpus, weights) == GpuLayout(*layout)


def test_engines_behind_one_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers_for: Callable[..., list[Server]]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    (server,) = servers_for(model_in(tmp_path), replicas=1, data_parallel=None, tensor_parallel=2)
    assert server.environment["CUDA_VISIBLE_DEVICES"] == "0,1,2,3"
    assert (option(server, "--data-parallel-size"), option(server, "--tensor-parallel-size")) == ("2", "2")
    first, *others = servers_for(model_in(tmp_path))
    assert (len(others), option(first, "--data-parallel-size")) == (3, None)


def test_gpu_memory_and_weights_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        "#!/bin/sh\nif [ $1 = --query-gpu=memory.total ]; then echo 81559; echo 46068; else echo 0; echo 1; fi"
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert core.serving._gpu_memory() == 46068 * 2**20
    assert core.serving._gpus() == ["0", "1"]
    assert weights_bytes(tmp_path) is None
    for number in range(2):
        (tmp_path / f"model-{number}.safetensors").write_bytes(b"x" * 100)
    assert weights_bytes(tmp_path) == 200
    (tmp_path / "pytorch_model.bin").write_bytes(b"x" * 150)
    assert weights_bytes(tmp_path) == 200, "the same weights in another format"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert weights_bytes("no-such-owner/no-such-model") is None
    files = [("model-1.safetensors", 300), ("original/model.safetensors", 300), ("README.md", 5)]
    told = SimpleNamespace(siblings=[SimpleNamespace(rfilename=name, size=size) for name, size in files])
    monkeypatch.setattr("core.serving.model_info", lambda model, files_metadata: told)
    assert weights_bytes("no-such-owner/no-such-model") == 300


@pytest.mark.parametrize("hidden", ["", " ", "-1", " -1 ", "NoDevFiles", "none", "-1,0"])
def test_hidden_gpus_are_none(
    hidden: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers_for: Callable[..., list[Server]]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    (server,) = servers_for(model_in(tmp_path))
    assert "--enforce-eager" in server.command
    assert "VLLM_CPU_KVCACHE_SPACE" in server.environment
    with pytest.raises(UserError, match=r"device=cuda was given, but this process sees no GPU"):
        servers_for(tmp_path, device="cuda")


@pytest.mark.parametrize(
    ("visible", "ids"), [(" 2 , 3", "2,3"), ("1,0,-1,3", "1,0"), ("GPU-8a-b,MIG-7c", "GPU-8a-b,MIG-7c")]
)
def test_gpus_are_visible_up_to_the_first_that_names_none(
    visible: str, ids: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers_for: Callable[..., list[Server]]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    (server,) = servers_for(model_in(tmp_path), tensor_parallel=2)
    assert server.environment["CUDA_VISIBLE_DEVICES"] == ids


def test_parsers_follow_the_model_unless_they_are_given(
    tmp_path: Path, servers_for: Callable[..., list[Server]]
) -> None:
    def parsers(template: str, **settings: Any) -> tuple[str | None, ...]:
        (server,) = servers_for(model_in(tmp_path, template=template), device="cpu", **settings)
        assert ("--enable-auto-tool-choice" in server.command) == ("--tool-call-parser" in server.command)
        return option(server, "--reasoning-parser"), option(server, "--tool-call-parser")

    assert parsers("<think> <tool_call>") == ("qwen3", "hermes")
    assert parsers("<tool_call>") == (None, "hermes"), "a model that does not think"
    assert parsers("<|channel|>") == ("openai_gptoss", "openai")
    assert parsers("plain") == (None, None)
    assert parsers("plain", reasoning_parser="deepseek_r1", tool_call_parser="xlam") == ("deepseek_r1", "xlam")
    assert parsers("<think> <tool_call>", reasoning_parser=None, tool_call_parser=None) == (None, None)


def test_the_context_is_the_models_own_and_never_more(
    tmp_path: Path, servers_for: Callable[..., list[Server]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_in(tmp_path, context=32768)
    (own,), (shorter,) = (servers_for(model, device="cpu", **given) for given in ({}, {"max_model_len": 20000}))
    assert [option(server, "--max-model-len") for server in (own, shorter)] == [None, "20000"]
    assert [option(server, "--max-num-batched-tokens") for server in (own, shorter)] == ["32768", "20000"]
    (small,) = servers_for(model_in(tmp_path, context=8192), device="cpu")
    assert option(small, "--max-num-batched-tokens") == "16384"
    with pytest.raises(UserError, match=r"max_model_len=16384 was given, but .* has a context of 8192 tokens"):
        servers_for(model, device="cpu", max_model_len=16384)
    stretched = servers_for(model, device="cpu", max_model_len=16384, extra_arguments=("--hf-overrides", "{}"))
    assert option(stretched[0], "--max-model-len") == "16384"


@pytest.mark.parametrize(
    ("cores", "settings", "threads"),
    [
        (2, {}, "1"),
        (1, {}, "1"),
        (16, {}, "15"),
        (16, {"replicas": 2}, "7"),
        (4, {"replicas": 8}, "1"),
        (16, {"cpu_threads": 1}, "1"),
        (2, {"cpu_threads": 2}, "2"),
    ],
)
def test_a_cpu_engine_uses_its_share_of_the_physical_cores(
    cores: int,
    settings: dict[str, int],
    threads: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    servers_for: Callable[..., list[Server]],
) -> None:
    monkeypatch.setattr("core.serving.physical_cores", lambda: list(range(cores)))
    started = servers_for(model_in(tmp_path), device="cpu", **settings)
    assert {server.environment["OMP_NUM_THREADS"] for server in started} == {threads}
    assert {server.environment["VLLM_CPU_OMP_THREADS_BIND"] for server in started} == {"nobind"}


@pytest.mark.parametrize("native", [True, False])
def test_a_cpu_that_would_emulate_bfloat16_serves_in_float32(
    native: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers_for: Callable[..., list[Server]]
) -> None:
    monkeypatch.setattr("core.serving.multiplies_bfloat16", lambda: native)
    (server,) = servers_for(model_in(tmp_path), device="cpu")
    assert ("--dtype" in server.command) is not native
    assert native or option(server, "--dtype") == "float32"


def test_vllm_knows_the_variables_that_are_set(tmp_path: Path, servers_for: Callable[..., list[Server]]) -> None:
    known = pytest.importorskip("vllm.envs").environment_variables
    (server,) = servers_for(model_in(tmp_path), device="cpu")
    assert {name for name in server.environment if name.startswith("VLLM_")} <= set(known)


def test_the_date_of_gpt_oss_is_pinned_and_cached_tokens_are_counted(
    tmp_path: Path, servers_for: Callable[..., list[Server]]
) -> None:
    (server,) = servers_for(model_in(tmp_path), device="cpu")
    assert server.environment["VLLM_SYSTEM_START_DATE"] == "2025-01-15"
    assert "--enable-prompt-tokens-details" in server.command
    (server,) = servers_for(model_in(tmp_path), device="cpu", system_date="2026-02-03")
    assert server.environment["VLLM_SYSTEM_START_DATE"] == "2026-02-03"
