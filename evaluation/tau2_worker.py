"""τ²-bench's own code, run by evaluation.tau2 in a process of its own:  python -m evaluation.tau2_worker REQUEST.json

Each trial's record is in the journal as soon as the trial has ended.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import inspect_ai
from inspect_ai.dataset import MemoryDataset
from inspect_ai.event import ModelEvent
from inspect_ai.hooks import Hooks, SampleEnd, hooks
from inspect_ai.log import EvalSample
from inspect_ai.model import ChatMessageAssistant, GenerateConfig, Model, get_model, modelapi
from inspect_ai.model._providers.openai_compatible import OpenAICompatibleAPI
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import store
from inspect_evals.tau2 import tau2_airline, tau2_retail, tau2_telecom
from pydantic_core import to_json

from core.records import Journal
from core.schemas import schema_error
from core.settings import UserError
from evaluation.endpoint import Endpoint
from evaluation.results import TrialRecord, open_journal, settled, trial_key
from evaluation.tau2 import Tau2Request

TASKS = {"airline": tau2_airline, "retail": tau2_retail, "telecom": tau2_telecom}
MARKS = {"###STOP###": "stop", "###TRANSFER###": "transfer", "###OUT-OF-SCOPE###": "out_of_scope"}
TOO_LONG = ("context length", "maximum model length", "context_length_exceeded")
# In a sample's store: which trial it is, how many requests it has made, and why it may make no more.
TRIAL, STEPS, ENDED = "served_trial", "served_steps", "served_ended"


class DialogueEndedError(Exception):
    """No more requests are sent for this trial. The official loop catches every exception, and so soon runs out."""


class ServedAPI(OpenAICompatibleAPI):  # type: ignore[misc]  # untyped here
    """One side of the dialogue. The first failed request ends the trial and leaves its reason in the sample's store."""

    def __init__(self, model_name: str, side: str, origin: int, max_steps: int, **official: Any) -> None:
        super().__init__(model_name, service="served", strict_tools=False, **official)
        self.side, self.origin, self.max_steps = side, origin, max_steps

    async def generate(self, input: Any, tools: Any, tool_choice: Any, config: GenerateConfig) -> Any:
        if store().get(ENDED):
            raise DialogueEndedError(store().get(ENDED)["reason"])
        step = store().get(STEPS, 0)
        if step >= self.max_steps:
            raise _end("max_steps", "")
        store().set(STEPS, step + 1)
        key = repr((self.origin, store().get(TRIAL), self.side, step)).encode()
        seed = int.from_bytes(hashlib.sha256(key).digest()[:4], "big") >> 1
        try:
            result = await super().generate(input, tools, tool_choice, config.merge(GenerateConfig(seed=seed)))
        except Exception as error:
            raise self._failure(error) from error
        outcome = result[0] if isinstance(result, tuple) else result
        if isinstance(outcome, Exception):
            raise self._failure(outcome)
        return result

    def _failure(self, error: Exception) -> DialogueEndedError:
        too_long = self.side == "agent" and any(mark in str(error) for mark in TOO_LONG)
        message = f"{self.side}: {type(error).__name__}: {error}"
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
        top_k=sampling.top_k,
        max_tokens=sampling.max_tokens,
        max_connections=endpoint.concurrency,
        max_retries=0,  # the client's own retries are the only ones: an error that gets past them is final
        extra_body={"top_k": sampling.top_k},
    )
    return get_model(
        f"served/{endpoint.model}",
        config=config,
        base_url=endpoint.base_url,
        api_key=endpoint.api_key(),
        memoize=False,
        side=side,
        origin=request.settings.seed,
        max_steps=request.settings.max_steps,
        max_retries=request.settings.retries,
        client_timeout=request.settings.timeout_s,
    )


def task(domain: str, ids: tuple[str, ...] | None, request: Tau2Request, done: set[str]) -> inspect_ai.Task | None:
    """The domain's task with one sample for each trial that is still to be held; None if there is none."""
    whole = TASKS[domain](shuffle=False, message_limit=request.settings.max_steps)
    samples = {str(sample.id): sample for sample in whole.dataset}
    if unknown := sorted(set(ids or ()) - samples.keys()):
        raise UserError(f"τ² {domain} has no task {unknown[0]!r}")
    wanted = [(name, trial) for trial in range(request.trials) for name in (samples if ids is None else ids)]
    missing = [
        samples[name].model_copy(update={"id": f"{domain}/{name}/{trial}"})
        for name, trial in wanted
        if trial_key({"benchmark": "tau2", "category": domain, "task_id": name, "trial": trial}) not in done
    ]
    if not missing:
        return None
    return inspect_ai.task_with(whole, dataset=MemoryDataset(missing, name=domain), setup=solver(remember_trial)())


def record(sample: EvalSample, request: Tau2Request) -> TrialRecord:
    domain, name, trial = str(sample.id).split("/")
    ended = sample.store.get(ENDED) or {}
    events = [event for event in sample.events if isinstance(event, ModelEvent)]
    replies = [event for event in events if event.role != "user" and not event.error]
    error = _infrastructure_error(sample, ended, events)
    mark = _mark(sample)
    reward = all(score.value == "C" for score in (sample.scores or {}).values())
    calls = [(call, event.tools) for event in replies for call in event.output.message.tool_calls or ()]
    usage = [event.output.usage for event in replies if event.output.usage]
    return TrialRecord(
        benchmark="tau2",
        harness=request.settings.harness,
        category=domain,
        task_id=name,
        trial=int(trial),
        model=request.endpoint.model,
        success=None if error else mark is not None and reward,
        infrastructure_error=error,
        stop_reason="infrastructure" if error else mark or ended.get("reason", "unfinished"),
        truncations=sum(event.output.stop_reason == "max_tokens" for event in replies),
        calls=len(calls),
        valid_calls=sum(_fits(call, tools) for call, tools in calls),
        sampling=request.endpoint.sampling,
        simulator=(request.settings.user or request.endpoint).model,
        prompt_tokens=sum(counted.input_tokens for counted in usage),
        completion_tokens=sum(counted.output_tokens for counted in usage),
        seconds=round(sum(event.working_time or 0.0 for event in replies), 3),
    )


def _infrastructure_error(sample: EvalSample, ended: dict[str, str], events: list[ModelEvent]) -> str | None:
    """Why the trial could not be held, if so: a failed request, or an exception of the harness or its scorer."""
    if ended:
        return ended["message"] if ended["reason"] == "infrastructure" else None
    errors = [event.error for event in events if event.error]
    if errors or sample.error or not sample.scores:
        return errors[0] if errors else sample.error.message if sample.error else "the trial has no score"
    return None


def _mark(sample: EvalSample) -> str | None:
    """How the user simulator ended the dialogue, None if it did not."""
    last = sample.messages[-1] if sample.messages else None
    if not isinstance(last, ChatMessageAssistant):
        return None
    return next((reason for mark, reason in MARKS.items() if mark in last.text), None)


def _fits(call: Any, tools: Any) -> bool:
    """Whether a call names a declared tool and its arguments fit that tool's schema."""
    schemas = {tool.name: tool.parameters.model_dump(exclude_none=True) for tool in tools}
    return (
        call.parse_error is None
        and call.function in schemas
        and schema_error(call.arguments, schemas[call.function]) is None
    )


class Recorder(Hooks):  # type: ignore[misc]  # untyped here
    """Writes every finished trial's record to the journal, and its dialogue beside it for people to read."""

    request: Tau2Request
    journal: Journal
    failure: Exception | None = None

    async def on_sample_end(self, data: SampleEnd) -> None:
        try:
            trial = record(data.sample, self.request)
            dialogue: list[Any] = next((v for k, v in data.sample.store.items() if k.endswith(":trajectory")), [])
            with (self.request.directory / "dialogues.jsonl").open("ab") as file:
                file.write(to_json({"trial": trial.key, "trajectory": dialogue}) + b"\n")
            self.journal.append(trial, trial.key)
        except Exception as error:  # the caller would log it and go on as if nothing were
            Recorder.failure = error


def main(path: Path) -> None:
    request = Tau2Request.model_validate_json(path.read_text())
    modelapi(name="served")(ServedAPI)
    with open_journal(request.directory / "trials.jsonl") as journal:
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
        model_roles={"user": model(request.settings.user or request.endpoint, "user", request)},
        max_tasks=len(tasks),
        max_samples=request.endpoint.concurrency,
        fail_on_error=False,
        log_dir=str(request.directory / "logs"),
        log_realtime=False,
        log_samples=False,  # its log holds every database whole: seconds for each sample
        display="none",
        ctl_server=False,
    )
    if Recorder.failure:
        raise Recorder.failure
    if failed := [log for log in logs if log.status != "success"]:
        sys.exit(f"{failed[0].eval.task} ended with status {failed[0].status}: {failed[0].error}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
