"""More than one process for a run: Ray actors, on one machine or many, each with its share of the dialogues and its own journal.

All of them write into the run's directory, so several machines need it on a shared file system. Any number of actors makes the
same files, and a run may go on with another number of them.
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
from generation.runner import Batch, shards, work

POLL_S = 0.5
RESTARTS = 3
"""How often an actor whose process dies is started again; it goes on where its journal ends."""


class Ray:
    """`workers` actors in the cluster at `address`; None starts one on this machine for the time of the run."""

    def __init__(self, workers: int, address: str | None = None) -> None:
        if not isinstance(workers, int) or workers < 1:
            raise UserError(f"executor.workers={workers} was given; a number of processes from 1 is expected")
        self.workers = workers
        self.address = address

    async def work(
        self, pipeline: Pipeline, directory: Path, batch: Batch, on_outcome: Callable[[Outcome], None]
    ) -> None:
        """As Executor.work. Raises UserError where Ray is not installed or its cluster is not there."""
        ray = _connect(self.address)
        actor = ray.remote(num_cpus=0, max_restarts=RESTARTS, max_task_retries=RESTARTS)(_Shard)
        mine = [part for part in shards(batch, self.workers) if part.numbers]
        actors = [actor.remote(pipeline, str(directory), part) for part in mine]
        waiting = [handle.make.remote() for handle in actors]
        told = [0] * len(actors)
        try:
            while waiting:
                done, waiting = await asyncio.to_thread(ray.wait, waiting, num_returns=1, timeout=POLL_S)
                for number, handle in enumerate(actors):
                    fresh = await asyncio.to_thread(ray.get, handle.news.remote(told[number]))
                    told[number] += len(fresh)
                    for outcome in fresh:
                        on_outcome(outcome)
                for finished in done:
                    await asyncio.to_thread(ray.get, finished)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayActorError as error:
            raise UserError(f"a worker process died too often ({error}); the same command goes on") from None
        finally:
            for handle in actors:
                ray.kill(handle)


class _Shard:
    """One actor: makes its share in its own event loop, and tells what became of it."""

    def __init__(self, pipeline: Pipeline, directory: str, batch: Batch) -> None:
        self.pipeline = pipeline
        self.directory = Path(directory)
        self.batch = batch
        self.outcomes: list[Outcome] = []

    async def make(self) -> None:
        try:
            await work(self.pipeline, self.directory, self.batch, self._keep)
        finally:
            await self.pipeline.llm.close()
            self.pipeline.environments.close()

    def _keep(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome.model_copy(update={"dialogue": None}))

    async def news(self, told: int) -> list[Outcome]:
        """The outcomes after the first `told`."""
        return self.outcomes[told:]


def _connect(address: str | None) -> Any:
    try:
        import ray  # noqa: PLC0415 - takes seconds, and only this executor needs it
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
            raise UserError(f"executor.address={address}: no Ray cluster is there: {error}") from None
    return ray
