"""Serves the models to evaluate one after another, and starts the next engine while the last one is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from core.cpu import available_memory, physical_cores
from core.serving import EngineSettings, gpu_layout, starting, usable_gpus, weights_bytes
from core.settings import UserError
from evaluation.endpoint import Endpoint
from evaluation.targets import EvaluateSettings, Target

GIB = 2**30
ENGINE_GIB = 3.0
"""Memory of an engine on the CPU besides its weights and its KV cache: 2.3 GiB were measured."""
SPARE_GIB = 2.0
"""Memory left to the benchmarks."""
CORES = 3
"""An engine and its benchmarks keep two cores busy: on as many, starting another one at the same time gains nothing."""


@contextmanager
def served_in_turn(
    targets: Sequence[Target], settings: EvaluateSettings, logs: Path
) -> Iterator[Iterator[tuple[Target, Endpoint]]]:
    """Yields an iterator over (target, its endpoint), which stops a target's engine when the next one is asked for.

    All engines stop when the context ends, also by Ctrl-C, and when this process is killed. Raises UserError as
    `core.serving.serve` does, and if `start_next` is set where two engines cannot fit.
    """
    _check(settings)
    with ExitStack() as engines:
        yield _turns(engines, targets, settings, logs)


def _turns(
    engines: ExitStack, targets: Sequence[Target], settings: EvaluateSettings, logs: Path
) -> Iterator[tuple[Target, Endpoint]]:
    early: tuple[ExitStack, Callable[[], Endpoint]] | None = None
    for number, target in enumerate(targets):
        engine, ready = early or _start(engines, target, settings, logs, number)
        early = None
        endpoint = ready()
        following = targets[number + 1 : number + 2]
        if following and start_early(target, following[0], settings):
            early = _start(engines, following[0], settings, logs, number + 1)
        yield target, endpoint
        engine.close()


def _start(
    engines: ExitStack, target: Target, settings: EvaluateSettings, logs: Path, number: int
) -> tuple[ExitStack, Callable[[], Endpoint]]:
    """What stops the engine of a target, and what waits until it is ready."""
    engine = engines.enter_context(ExitStack())
    kwargs = settings.chat_template_kwargs
    common = {
        "sampling": settings.sampling,
        "chat_template_kwargs": target.chat_template_kwargs if kwargs is None else kwargs,
        "concurrency": settings.concurrency,
    }
    if target.path is None:
        url, name = target.base_url, target.served_model
        return engine, lambda: Endpoint(base_url=url, model=name, api_key_env=target.api_key_env, **common)
    # Every second engine takes the last GPUs, which the ones before and after it leave idle.
    idle = usable_gpus(settings.serving) - _gpus_needed(settings.serving, target.path)
    skipped = max(0, idle) if number % 2 else 0
    wait = engine.enter_context(starting(target.path, settings.serving, logs, target.label, skipped))
    return engine, lambda: Endpoint(base_url=wait()[0], model=target.label, **common)


def start_early(current: Target, following: Target, settings: EvaluateSettings) -> bool:
    """Whether the engine of `following` may start while `current` is evaluated."""
    serving = settings.serving
    if settings.start_next is False or following.path is None or (serving.port and current.path):
        return False
    if settings.start_next or current.path is None:
        return True
    if gpus := usable_gpus(serving):
        return gpus >= _gpus_needed(serving, current.path) + _gpus_needed(serving, following.path)
    available = available_memory()
    # The current engine has its weights, but may not have filled its KV cache yet.
    caches = 2 * serving.cpu_cache_gib * GIB
    weights = 2 * (weights_bytes(following.path) or 0)  # a CPU without bfloat16 doubles them
    needed = (serving.replicas or 1) * (weights + caches + ENGINE_GIB * GIB) + SPARE_GIB * GIB
    return len(physical_cores()) >= CORES and available is not None and available >= needed


def _check(settings: EvaluateSettings) -> None:
    serving = settings.serving
    gpus = usable_gpus(serving)
    needed = 2 * gpu_layout(serving, gpus, None).gpus
    if settings.start_next and gpus and gpus < needed and serving.gpu_memory_share > 0.5:
        raise UserError(
            f"start_next=true was given with serving.gpu_memory_share={serving.gpu_memory_share}; expected at most 0.5, "
            f"so that two engines share a GPU, or {needed} GPUs, or start_next=null"
        )
    if settings.start_next and serving.port:
        raise UserError(
            f"start_next=true was given with serving.port={serving.port}; expected 0, because two engines cannot have "
            "the same port"
        )


def _gpus_needed(serving: EngineSettings, model: Path) -> int:
    return gpu_layout(serving, usable_gpus(serving), weights_bytes(model)).gpus
