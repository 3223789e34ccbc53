"""Several processes for a run: Ray actors on any machines, each with a share of the dialogues and its own journal.

All actors write to the run's directory, so several machines need a shared file system. The files do not depend on the
number of actors, and a run may be resumed with another number.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.settings import UserError
from generation.outcomes import Outcome
from generation.pipeline import Pipeline
from generation.runner import Batch, run_batch, shards

POLL_S = 0.5
RESTARTS = 3
"""Restarts of an actor whose process died; it continues where its journal ends."""


class Ray:
    """`workers` actors in the cluster at `address`; None starts a cluster on this machine for the run."""

    def __init__(self, workers: int, address: str | None = None) -> None:
        if not isinstance(workers, int) or workers < 1:
            raise UserError(f"executor.workers={workers}: expected a number of processes, at least 1")
        self.workers = workers
        self.address = address

    async def work(
        self, pipeline: Pipeline, directory: Path, batch: Batch, on_outcome: Callable[[Outcome], None]
    ) -> None:
        """As Executor.work. Raises UserError if Ray is not installed or its cluster cannot be reached."""
        ray = _connect(self.address)
        actor = ray.remote(num_cpus=0, max_restarts=RESTARTS, max_task_retries=RESTARTS)(_Shard)
        parts = [part for part in shards(batch, self.workers) if part.numbers]
        actors = [actor.remote(pipeline, str(directory), part) for part in parts]
        waiting = [handle.run.remote() for handle in actors]
        reported = [0] * len(actors)
        try:
            while waiting:
                done, waiting = await asyncio.to_thread(ray.wait, waiting, num_returns=1, timeout=POLL_S)
                for number, handle in enumerate(actors):
                    fresh = await asyncio.to_thread(ray.get, handle.outcomes_after.remote(reported[number]))
                    reported[number] += len(fresh)
                    for outcome in fresh:
                        on_outcome(outcome)
                for finished in done:
                    await asyncio.to_thread(ray.get, finished)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayActorError as error:
            raise UserError(f"a worker process died too often ({error}); the same command resumes the run") from None
        finally:
            for handle in actors:
                ray.kill(handle)


class _Shard:
    """One actor: generates its share in its own event loop and keeps the outcomes until they are fetched."""

    def __init__(self, pipeline: Pipeline, directory: str, batch: Batch) -> None:
        self.pipeline = pipeline
        self.directory = Path(directory)
        self.batch = batch
        self.outcomes: list[Outcome] = []

    async def run(self) -> None:
        try:
            await run_batch(self.pipeline, self.directory, self.batch, self._keep)
        finally:
            await self.pipeline.llm.close()
            self.pipeline.environments.close()

    def _keep(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome.model_copy(update={"dialogue": None}))

    async def outcomes_after(self, count: int) -> list[Outcome]:
        """The outcomes after the first `count`."""
        return self.outcomes[count:]


def _connect(address: str | None) -> Any:
    try:
        import ray  # noqa: PLC0415 - an optional package: without it, a clear error
    except ImportError:
        raise UserError("executor=ray needs Ray: install the extra ray (uv pip install -e '.[ray]')") from None
    if not ray.is_initialized():
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            if address:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            else:
                ray.init(
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _node_ip_address="127.0.0.1",
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(f"executor.address={address}: no Ray cluster answers: {error}") from None
    return ray
