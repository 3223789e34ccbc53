"""Runs the trials of a request with inspect-evals and records each when it ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence, Set

import inspect_ai
from inspect_ai._util import entrypoints
from inspect_ai.dataset import MemoryDataset
from inspect_ai.hooks import Hooks, SampleEnd, hooks
from inspect_ai.log import EvalSample
from inspect_ai.model import _assistant_internal, modelapi
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import store
from inspect_evals.tau2 import tau2_airline, tau2_retail, tau2_telecom
from pydantic_core import to_json

from core.journal import Journal
from evaluation.tau2.blame import find_blame
from evaluation.tau2.inspect_worker.model import TRIAL, ServedAPI, served_model
from evaluation.tau2.inspect_worker.records import chat, failure_notes, trajectory, trial_record
from evaluation.tau2.settings import Tau2Request
from evaluation.tau2.tasks import tasks
from evaluation.transcripts import write_transcript
from evaluation.trials import trial_key

TASKS = {"airline": tau2_airline, "retail": tau2_retail, "telecom": tau2_telecom}


class TrialRecorder:
    """Appends every finished trial's record to the journal and its dialogue to dialogues.jsonl.

    A failed trial also gets a transcript.
    """

    def __init__(self, request: Tau2Request, journal: Journal) -> None:
        self.request = request
        self.journal = journal
        # inspect would log a hook's exception and continue, so `run_trials` raises it.
        self.failure: Exception | None = None

    def record(self, sample: EvalSample) -> None:
        try:
            trial = trial_record(sample, self.request)
            dialogue = trajectory(sample)
            with (self.request.directory / "dialogues.jsonl").open("ab") as file:
                file.write(to_json({"trial": trial.key, "trajectory": dialogue}) + b"\n")
            if trial.success is False:
                notes, messages = failure_notes(sample, trial), chat(dialogue)
                trial = trial.blamed(find_blame(tasks(trial.category)[trial.task_id], messages, trial.stop_reason))
                trial = write_transcript(self.request.directory, trial, notes, messages)
            self.journal.append(trial, trial.key)
        except Exception as error:
            self.failure = error

    def subscribe(self) -> None:
        """Registers with inspect; replaces the recorder that was registered before."""
        record = self.record

        class SampleEndHook(Hooks):
            async def on_sample_end(self, data: SampleEnd) -> None:
                record(data.sample)

        hooks(name="journal", description="Appends each trial's record to the journal")(SampleEndHook)


def store_trial() -> Solver:
    """A solver that stores the sample's id, from which requests get their ids."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        store().set(TRIAL, str(state.sample_id))
        return state

    return solve


def domain_task(
    domain: str, ids: Sequence[str], request: Tau2Request, done: Set[str] = frozenset()
) -> inspect_ai.Task | None:
    """The domain's task with one sample per trial whose key is not in `done`; None if all are."""
    pending = [
        (name, trial)
        for trial in range(request.trials)
        for name in ids
        if trial_key({"benchmark": "tau2", "category": domain, "task_id": name, "trial": trial}) not in done
    ]
    if not pending:
        return None
    task = TASKS[domain](shuffle=False, message_limit=request.settings.max_steps)
    by_id = {str(sample.id): sample for sample in task.dataset}
    samples = [by_id[name].model_copy(update={"id": f"{domain}/{name}/{trial}"}) for name, trial in pending]
    return inspect_ai.task_with(task, dataset=MemoryDataset(samples, name=domain), setup=solver(store_trial)())


def run_trials(pending: Sequence[inspect_ai.Task], request: Tau2Request, journal: Journal) -> None:
    """Runs the samples of `pending` and appends each trial to the journal when it ends. Raises the harness's errors."""
    recorder = TrialRecorder(request, journal)
    recorder.subscribe()
    logs = inspect_ai.eval(
        list(pending),
        model=served_model(request.endpoint, "agent", request),
        model_roles={"user": served_model(request.simulator, "user", request)},
        max_tasks=len(pending),
        max_samples=request.endpoint.concurrency,
        fail_on_error=False,
        log_dir=str(request.directory / "logs"),
        log_realtime=False,
        log_samples=False,  # the log would contain every message as often as it was sent
        display="none",
        ctl_server=False,
    )
    if recorder.failure:
        raise recorder.failure
    if failed := [log for log in logs if log.status != "success"]:
        sys.exit(f"{failed[0].eval.task} ended with status {failed[0].status}: {failed[0].error}")


def register_served_api() -> None:
    """Makes models named "served/…" available to inspect."""
    modelapi(name="served")(ServedAPI)


def skip_unused_imports() -> None:
    """Keeps inspect from importing all other evaluations, in search of extensions, and an unused vendor's client.

    These imports account for most of the start-up time.
    """
    entrypoints._inspect_ai_eps_loaded_all = True
    _assistant_internal._HAS_ANTHROPIC = False
