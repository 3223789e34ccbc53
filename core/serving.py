"""Serve models on this machine with vLLM."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatch
from itertools import takewhile
from pathlib import Path
from typing import Literal

from huggingface_hub import model_info, try_to_load_from_cache
from pydantic import Field

from core.cpu import multiplies_bfloat16, physical_cores
from core.model_files import ModelFiles, read_model_files
from core.parsers import parsers_for
from core.servers import HOST, Server, Wait, free_ports, launched
from core.settings import Settings, UserError

AUTO = "auto"
MIN_CPU_BATCH_TOKENS = 16384
WEIGHTS = ("*.safetensors", "*.bin")
"""Files of weights; vLLM reads those of the first format that a model has."""

WEIGHTS_SHARE = 0.8
"""Of the GPU memory that vLLM may use: how much of it weights take at most."""

_GPU = re.compile(r"\d+|(?:GPU|MIG)-.+")


class EngineSettings(Settings):
    """How vLLM serves a model."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto: CUDA if a GPU is visible, else CPU"
    )
    port: int = Field(
        default=0, ge=0, le=65535, description="port of the first replica, the others follow; 0: any free ports"
    )
    replicas: int | None = Field(
        default=None, ge=1, description="number of servers; null: as many as there are GPUs for, one on a CPU"
    )
    data_parallel: int | None = Field(
        default=1,
        ge=1,
        description="engines behind one server, each with its own GPUs; null: as many as there are GPUs for, one on a CPU",
    )
    tensor_parallel: int | None = Field(
        default=None, ge=1, description="GPUs per engine; null: as many as the model's weights need, by powers of two"
    )
    max_model_len: int | None = Field(
        default=None, ge=1, description="context length in tokens; null: the model's own, from its config.json"
    )
    max_num_seqs: int = Field(default=64, description="sequences per batch")
    cpu_cache_gib: int = Field(default=2, description="KV cache on CPU, in GiB")
    cpu_threads: int | None = Field(
        default=None,
        ge=1,
        description="threads per replica on a CPU; null: the machine's physical cores divided by `replicas`, less one "
        "for the HTTP server and the client",
    )
    gpu_memory_share: float = Field(default=0.9, gt=0, le=1, description="share of each GPU's memory that vLLM may use")
    reasoning_parser: str | None = Field(
        default=AUTO, description="vLLM's parser of reasoning; auto: as the model needs, see core.parsers; null: none"
    )
    tool_call_parser: str | None = Field(
        default=AUTO, description="vLLM's parser of tool calls; auto: as the model needs, see core.parsers; null: none"
    )
    system_date: date = Field(
        default=date(2025, 1, 15),
        description="date that vLLM writes into GPT-OSS's system message instead of today's, so that a resumed run has "
        "the same prompts",
    )
    extra_arguments: tuple[str, ...] = Field(default=(), description="further command-line arguments of vLLM")
    start_timeout_s: float = Field(default=900.0, description="time limit until the servers answer, in seconds")


@contextmanager
def serve(model: str | Path, settings: EngineSettings, logs: Path, name: str = "model") -> Iterator[tuple[str, ...]]:
    """Serve a checkpoint directory or hub id with vLLM as `name`; yields one base URL per replica once all are ready.

    Raises UserError if the model or GPUs are missing, if `max_model_len` exceeds the model's context, if a port is
    taken, and if a server dies or is not ready in time.
    """
    with starting(model, settings, logs, name) as wait:
        yield wait()


@contextmanager
def starting(
    model: str | Path, settings: EngineSettings, logs: Path, name: str = "model", skip_gpus: int = 0
) -> Iterator[Wait]:
    """Like `serve`, but does not wait until the servers are ready: what it yields does. The first `skip_gpus` GPUs are
    left to others."""
    settings = for_model(settings, model, files := read_model_files(model))
    gpus = (_gpus() if settings.device != "cpu" else [])[skip_gpus:]
    if settings.device == "cuda" and not gpus:
        hidden = f" (CUDA_VISIBLE_DEVICES={visible!r})" if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) else ""
        raise UserError(f"device=cuda was given, but this process sees no GPU{hidden}; use device=cpu")
    layout = gpu_layout(settings, len(gpus), weights_bytes(model) if gpus else None)
    if gpus and layout.gpus > len(gpus):
        raise UserError(
            f"{layout.replicas} replicas × data_parallel {layout.data_parallel} × tensor_parallel "
            f"{layout.tensor_parallel} need {layout.gpus} GPUs, but this machine has {len(gpus)}"
        )
    context = settings.max_model_len or files.context
    servers = []
    for i, port in enumerate(free_ports(layout.replicas, settings.port)):
        own = gpus[i * layout.of_replica :][: layout.of_replica]
        command = _command(model, name, settings, port) + (_on_gpus(settings, layout) if own else _on_cpu(context))
        environment = _environment(model, settings) | (
            {"CUDA_VISIBLE_DEVICES": ",".join(own)} if own else _cpu_environment(settings, layout.replicas)
        )
        servers.append(Server((*command, *settings.extra_arguments), port, logs / f"vllm-{port}.log", environment))
    with launched(servers, f"vLLM with {model} ({_describe(settings, context)})", settings.start_timeout_s) as wait:
        yield wait


@dataclass(frozen=True)
class GpuLayout:
    """How a model is spread over GPUs; on a CPU, one engine for each replica."""

    replicas: int
    data_parallel: int
    tensor_parallel: int

    @property
    def of_replica(self) -> int:
        return self.data_parallel * self.tensor_parallel

    @property
    def gpus(self) -> int:
        return self.replicas * self.of_replica


def gpu_layout(settings: EngineSettings, gpus: int, weights: int | None) -> GpuLayout:
    """The layout of a model with so many bytes of weights (None: unknown) on so many GPUs, where the settings leave it
    open."""
    if not gpus:
        return GpuLayout(settings.replicas or 1, 1, 1)
    tensor = settings.tensor_parallel or _tensor_parallel(settings, gpus, weights)
    data = settings.data_parallel or max(1, gpus // (tensor * (settings.replicas or 1)))
    return GpuLayout(settings.replicas or max(1, gpus // (tensor * data)), data, tensor)


def _tensor_parallel(settings: EngineSettings, gpus: int, weights: int | None) -> int:
    """The GPUs of an engine; 1 if the size of the weights or of the GPUs is not known."""
    memory = _gpu_memory() if weights else None
    return gpus_for(weights, settings.gpu_memory_share * memory, gpus) if weights and memory else 1


def gpus_for(weights: float, usable: float, most: int) -> int:
    """The smallest power of two of GPUs on which weights leave room for a KV cache, or if there are not so many, the
    largest. `usable` is what vLLM may use of a GPU's memory, in the unit of `weights`."""
    gpus = 1
    while weights > WEIGHTS_SHARE * usable * gpus and 2 * gpus <= most:
        gpus *= 2
    return gpus


def weights_bytes(model: str | Path) -> int | None:
    """The size of a model's weights, of a directory, of what the hub's cache has, or else as the hub tells it; None if
    that is not known."""
    if Path(model).is_dir():
        return _weights_in(Path(model))
    try:
        config = try_to_load_from_cache(str(model), "config.json")
        if isinstance(config, str) and (cached := _weights_in(Path(config).parent)):
            return cached
        files = model_info(str(model), files_metadata=True).siblings or []
    except Exception:  # the hub's client raises its own errors and those of its transport
        return None
    # Some models have the same weights again in a subfolder.
    return _weights({file.rfilename: file.size or 0 for file in files if "/" not in file.rfilename})


def _weights_in(directory: Path) -> int | None:
    return _weights({file.name: file.stat().st_size for file in directory.iterdir()})


def _weights(sizes: Mapping[str, int]) -> int | None:
    """Of files by name."""
    by_format = [sum(size for name, size in sizes.items() if fnmatch(name, ending)) for ending in WEIGHTS]
    return next(filter(None, by_format), None)


def usable_gpus(settings: EngineSettings) -> int:
    """The number of GPUs that servers with these settings may use; 0 if they run on the CPU."""
    return 0 if settings.device == "cpu" else len(_gpus())


def for_model(settings: EngineSettings, model: str | Path, files: ModelFiles) -> EngineSettings:
    """Return the settings with the parsers that the model needs in place of "auto".

    Raises UserError if `max_model_len` exceeds the model's context.
    """
    stretched = "--hf-overrides" in settings.extra_arguments or os.environ.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN")
    if settings.max_model_len and files.context and settings.max_model_len > files.context and not stretched:
        raise UserError(
            f"serving.max_model_len={settings.max_model_len} was given, but {model} has a context of {files.context} "
            "tokens; expected at most as many, or null for the model's own"
        )
    needed = parsers_for(files.chat_template, files.model_type)
    chosen = {"reasoning_parser": needed.reasoning, "tool_call_parser": needed.tools}
    return settings.model_copy(update={key: parser for key, parser in chosen.items() if getattr(settings, key) == AUTO})


def _command(model: str | Path, name: str, settings: EngineSettings, port: int) -> list[str]:
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(model), "--served-model-name", name, "--host", HOST, "--port", str(port)]
    command += ["--max-num-seqs", str(settings.max_num_seqs), "--enable-prompt-tokens-details"]
    if settings.max_model_len:
        command += ["--max-model-len", str(settings.max_model_len)]
    if settings.reasoning_parser:
        command += ["--reasoning-parser", settings.reasoning_parser]
    if settings.tool_call_parser:
        command += ["--enable-auto-tool-choice", "--tool-call-parser", settings.tool_call_parser]
    return command


def _on_gpus(settings: EngineSettings, layout: GpuLayout) -> list[str]:
    several = ["--data-parallel-size", str(layout.data_parallel)] if layout.data_parallel > 1 else []
    return [
        *("--tensor-parallel-size", str(layout.tensor_parallel)),
        *several,
        *("--gpu-memory-utilization", str(settings.gpu_memory_share)),
    ]


def _on_cpu(context: int | None) -> list[str]:
    # Chunked prefill with request seeds crashes the CPU engine; without chunks, a batch must fit a complete prompt.
    batch_tokens = max(MIN_CPU_BATCH_TOKENS, context or 0)
    options = ["--enforce-eager", "--no-enable-chunked-prefill", "--max-num-batched-tokens", str(batch_tokens)]
    # A CPU without instructions for bfloat16 emulates it, several times slower than it multiplies float32.
    return options if multiplies_bfloat16() else [*options, "--dtype", "float32"]


def _environment(model: str | Path, settings: EngineSettings) -> dict[str, str]:
    environment = {
        "VLLM_NO_USAGE_STATS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_SYSTEM_START_DATE": settings.system_date.isoformat(),
    }
    return environment | ({"HF_HUB_OFFLINE": "1"} if Path(model).is_dir() else {})


def _cpu_environment(settings: EngineSettings, replicas: int) -> dict[str, str]:
    # A second thread on a busy core makes each step several times slower, so each replica leaves one core to its HTTP
    # server and to the client. vLLM's own binding would put all replicas on the same cores.
    threads = settings.cpu_threads or max(1, len(physical_cores()) // replicas - 1)
    return {
        "VLLM_CPU_KVCACHE_SPACE": str(settings.cpu_cache_gib),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(threads),
    }


def _describe(settings: EngineSettings, context: int | None) -> str:
    return (
        f"context {context or 'by default'}, reasoning parser {settings.reasoning_parser or 'none'}, "
        f"tool-call parser {settings.tool_call_parser or 'none'}"
    )


def _gpus() -> list[str]:
    """Return the ids of the GPUs that this process may use, without importing torch. As in CUDA, the first entry that
    names no device (-1, NoDevFiles, none) ends the list of visible ones."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return list(takewhile(_GPU.fullmatch, map(str.strip, visible.split(","))))
    return _nvidia_smi("index")


def _gpu_memory() -> int | None:
    """The memory of the smallest GPU, in bytes; None if it cannot be asked."""
    sizes = [int(size) for size in _nvidia_smi("memory.total") if size.isdigit()]
    return min(sizes) * 2**20 if sizes else None


def _nvidia_smi(field: str) -> list[str]:
    """A field of each GPU; empty without the program or a GPU."""
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    listing = subprocess.run(query, capture_output=True, text=True, check=False)
    return listing.stdout.split() if listing.returncode == 0 else []
