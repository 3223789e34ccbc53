"""τ²-bench by inspect-evals, run by evaluation.tau2.benchmark in a process of its own:  python -m evaluation.tau2.inspect_worker REQUEST.json

Each trial's record is in the journal as soon as the trial has ended. Tools are sent without `strict`, so that servers do not repair
the model's arguments.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import inspect_ai
from inspect_ai._util import entrypoints
from inspect_ai.dataset import MemoryDataset
from inspect_ai.hooks import Hooks, SampleEnd, hooks
from inspect_ai.model import GenerateConfig, Model, _assistant_internal, get_model, modelapi
from inspect_ai.model._providers.openai_compatible import OpenAICompatibleAPI
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import store
from inspect_evals.tau2 import tau2_airline, tau2_retail, tau2_telecom
from pydantic_core import to_json

from core.journal import Journal
from core.server_protocol import exceeds_context, request_seed
from evaluation.endpoint import Endpoint
from evaluation.tau2.inspect_worker.databases import install_copy_on_read
from evaluation.tau2.inspect_worker.records import ENDED, chat, notes, record, trajectory
from evaluation.tau2.settings import Tau2Request
from evaluation.transcripts import write_transcript
from evaluation.trials import open_journal, settled, trial_key

TASKS = {"airline": tau2_airline, "retail": tau2_retail, "telecom": tau2_telecom}
# In a sample's store: which trial it is, and how many requests it has made.
TRIAL, STEPS = "served_trial", "served_steps"


class DialogueEndedError(Exception):
    """No more requests are sent for this trial. The official loop catches every exception, and so soon runs out."""


class ServedAPI(OpenAICompatibleAPI):  # type: ignore[misc]  # untyped here
    """One side of the dialogue. The first failed request ends the trial and leaves its reason in the sample's store."""

    def __init__(self, model_name: str, side: str, request: Tau2Request, **official: Any) -> None:
        settings = request.settings
        super().__init__(
            model_name,
            service="served",
            strict_tools=False,
            max_retries=settings.retries,
            client_timeout=settings.timeout_s,
            **official,
        )
        self.side, self.seed, self.max_steps = side, settings.seed, settings.max_steps
        # The client's own limit is one of silence: a server whose answer never ends would not exceed it.
        self.patience_s = settings.timeout_s * (settings.retries + 1)

    async def generate(self, input: Any, tools: Any, tool_choice: Any, config: GenerateConfig) -> Any:
        if store().get(ENDED):
            raise DialogueEndedError(store().get(ENDED)["reason"])
        step = store().get(STEPS, 0)
        if step >= self.max_steps:
            raise _end("max_steps", "")
        store().set(STEPS, step + 1)
        # The id matches lines of the server's log with transcripts.
        request_id = f"tau2/{store().get(TRIAL)}/{self.side}/{step}"
        own = GenerateConfig(seed=request_seed(self.seed, request_id), extra_headers={"X-Request-Id": request_id})
        try:
            async with asyncio.timeout(self.patience_s):
                result = await super().generate(input, tools, tool_choice, config.merge(own))
        except TimeoutError as error:
            raise self._failure(TimeoutError(f"no whole answer after {self.patience_s:g} s")) from error
        except Exception as error:
            raise self._failure(error) from error
        outcome = result[0] if isinstance(result, tuple) else result
        if isinstance(outcome, Exception):
            raise self._failure(outcome)
        return result

    def handle_bad_request(self, ex: Exception) -> Exception:
        """Inspect would take some refusals, by their codes, for what the model said."""
        return ex

    def handle_stream_error(self, ex: Exception) -> None:
        """Raised again, for the same reason."""

    def _failure(self, error: Exception) -> DialogueEndedError:
        code = getattr(error, "code", None)  # OpenAI's name for what is wrong, which the error's text need not hold
        message = f"{self.side}: {type(error).__name__}: {error}" + (f" ({code})" if code else "")
        too_long = self.side == "agent" and exceeds_context(message)
        return _end("context_length" if too_long else "infrastructure", message)


def _end(reason: str, message: str) -> DialogueEndedError:
    store().set(ENDED, {"reason": reason, "message": message})
    return DialogueEndedError(message or reason)


def remember_trial() -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        store().set(TRIAL, str(state.sample_id))
        return state

    return solve


def model(endpoint: Endpoint, side: str, request: Tau2Request) -> Model:
    sampling = endpoint.sampling
    config = GenerateConfig(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        max_connections=endpoint.concurrency,
        max_retries=0,  # the client's own retries are the only ones: an error that gets past them is final
        extra_body=sampling.extra_body(),
    )
    return get_model(
        f"served/{endpoint.model}",
        config=config,
        base_url=endpoint.base_url,
        api_key=endpoint.api_key(),
        memoize=False,
        side=side,
        request=request,
    )


def task(domain: str, ids: tuple[str, ...], request: Tau2Request, done: set[str]) -> inspect_ai.Task | None:
    """The domain's task with one sample for each trial that is still to be held; None if there is none."""
    missing = [
        (name, trial)
        for trial in range(request.trials)
        for name in ids
        if trial_key({"benchmark": "tau2", "category": domain, "task_id": name, "trial": trial}) not in done
    ]
    if not missing:
        return None
    whole = TASKS[domain](shuffle=False, message_limit=request.settings.max_steps)
    samples = {str(sample.id): sample for sample in whole.dataset}
    held = [samples[name].model_copy(update={"id": f"{domain}/{name}/{trial}"}) for name, trial in missing]
    return inspect_ai.task_with(whole, dataset=MemoryDataset(held, name=domain), setup=solver(remember_trial)())


class Recorder(Hooks):  # type: ignore[misc]  # untyped here
    """Writes every finished trial's record to the journal and its dialogue beside it, a failed one for people to read."""

    request: Tau2Request
    journal: Journal
    failure: Exception | None = None

    async def on_sample_end(self, data: SampleEnd) -> None:
        try:
            trial = record(data.sample, self.request)
            dialogue = trajectory(data.sample)
            with (self.request.directory / "dialogues.jsonl").open("ab") as file:
                file.write(to_json({"trial": trial.key, "trajectory": dialogue}) + b"\n")
            if trial.success is False:
                trial = write_transcript(self.request.directory, trial, notes(data.sample, trial), chat(dialogue))
            self.journal.append(trial, trial.key)
        except Exception as error:  # the caller would log it and go on as if nothing were
            Recorder.failure = error


def start_quickly() -> None:
    """Skips the imports of all other evaluations, among which inspect looks for extensions, and of a vendor's client that is not
    used: most of the seconds that a start would take."""
    entrypoints._inspect_ai_eps_loaded_all = True
    _assistant_internal._HAS_ANTHROPIC = False


def main(path: Path) -> None:
    request = Tau2Request.model_validate_json(path.read_text())
    start_quickly()
    install_copy_on_read()
    modelapi(name="served")(ServedAPI)
    with open_journal(request.journal) as journal:
        done = settled(journal.path)
        tasks = [task(domain, ids, request, done) for domain, ids in request.settings.tasks().items()]
        remaining = [one for one in tasks if one is not None]
        if remaining:
            hold(remaining, request, journal)


def hold(tasks: list[inspect_ai.Task], request: Tau2Request, journal: Journal) -> None:
    """Hold the trials of `tasks`, each in the journal as soon as it has ended. Raises what went wrong with the harness itself."""
    Recorder.request, Recorder.journal = request, journal
    hooks(name="journal", description="Appends each trial's record to the journal")(Recorder)
    logs = inspect_ai.eval(
        tasks,
        model=model(request.endpoint, "agent", request),
        model_roles={"user": model(request.simulator, "user", request)},
        max_tasks=len(tasks),
        max_samples=request.endpoint.concurrency,
        fail_on_error=False,
        log_dir=str(request.directory / "logs"),
        log_realtime=False,
        log_samples=False,  # its log holds every message as often as it was sent
        display="none",
        ctl_server=False,
    )
    if Recorder.failure:
        raise Recorder.failure
    if failed := [log for log in logs if log.status != "success"]:
        sys.exit(f"{failed[0].eval.task} ended with status {failed[0].status}: {failed[0].error}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
