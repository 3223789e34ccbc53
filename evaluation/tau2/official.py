"""τ²-bench through the official `tau2` executable, where the user has installed it (github.com/sierra-research/tau2-bench).

It is called with `tau2 run` once for each domain and goes on by itself where it was interrupted; what it writes to results.json is
read, never scored again. Written for release 1.0.1, whose judge of natural-language assertions is a hosted model by
default: here it is an endpoint of the user's, or the domain that needs one is refused, and hosted models cannot be reached.

Keys reach it through the environment only, since it keeps its arguments in results.json. It does not keep the tools'
schemas, so calls are not counted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.journal import write_atomically
from core.server_protocol import exceeds_context
from core.settings import UserError
from evaluation.endpoint import Endpoint
from evaluation.tau2.settings import OfficialSettings, Tau2Request
from evaluation.transcripts import write_transcript
from evaluation.trials import TrialRecord, open_journal, settled, trial_key
from evaluation.worker_process import run_worker

JUDGE = "gpt-4.1-2025-04-14"
"""The name by which release 1.0.1 asks for its judge."""
JUDGED = ("retail",)
NOWHERE = "http://127.0.0.1:9/v1"
ENDS = {"user_stop": "stop", "agent_stop": "stop"}


def check(official: OfficialSettings, tasks: Mapping[str, Sequence[str]]) -> None:
    """Raises UserError without an executable or its version, and for a judged domain without a judge."""
    if official.executable is None or shutil.which(official.executable) is None:
        raise UserError(
            f"benchmarks.tau2.official.executable={official.executable} was given; backend=official expects the path of the "
            "`tau2` program of github.com/sierra-research/tau2-bench, which you install yourself"
        )
    if not official.version:
        raise UserError(
            "backend=official expects benchmarks.tau2.official.version, the installed release: `pip show tau2`"
        )
    if judged := [domain for domain in JUDGED if domain in tasks and official.judge is None]:
        raise UserError(
            f"the official τ² {judged[0]} is scored by a judge, a hosted model by default; expected "
            "benchmarks.tau2.official.judge={base_url: …, model: …}, "
            f"a server that offers its model as {JUDGE!r}, or domains without {judged[0]}"
        )


def hold(request: Tau2Request, tick: Callable[[int], None]) -> None:
    """Run every chosen domain and put its trials into the journal. Raises HarnessError if the executable fails."""
    tasks = request.settings.tasks()
    check(request.settings.official, tasks)
    for domain, ids in tasks.items():
        if _complete(request, domain, ids):
            continue
        place = request.directory / "official" / domain
        place.mkdir(parents=True, exist_ok=True)

        def count() -> None:
            tick(sum(map(_written, (request.directory / "official").iterdir())))

        command = [str(request.settings.official.executable), *_arguments(request, domain, ids, place)]
        try:
            run_worker(command, _environment(request), request.directory / "worker.log", count)
        finally:
            _keep(request, domain, place)


def _complete(request: Tau2Request, domain: str, ids: Sequence[str]) -> bool:
    done = settled(request.journal)
    wanted = ((name, trial) for name in ids for trial in range(request.trials))
    return all(
        trial_key({"benchmark": "tau2", "category": domain, "task_id": name, "trial": trial}) in done
        for name, trial in wanted
    )


def _arguments(request: Tau2Request, domain: str, ids: Sequence[str], place: Path) -> list[str]:
    settings = request.settings
    whole = settings.subset == "full"
    return [
        "run",
        *("--domain", domain),
        *("--task-split-name", settings.split if whole else "base"),
        *(() if whole else ("--task-ids", *ids)),
        *("--agent-llm", f"hosted_vllm/{request.endpoint.model}"),
        *("--agent-llm-args", json.dumps(_sampling(request, request.endpoint))),
        *("--user-llm", f"litellm_proxy/{request.simulator.model}"),
        *("--user-llm-args", json.dumps(_sampling(request, request.simulator))),
        *("--num-trials", str(request.trials)),
        *("--max-steps", str(settings.max_steps)),
        *("--max-concurrency", str(request.endpoint.concurrency)),
        *("--seed", str(settings.seed)),
        *("--save-to", str(place)),
        "--auto-resume",
    ]


def _sampling(request: Tau2Request, endpoint: Endpoint) -> dict[str, Any]:
    """Arguments for LiteLLM; the seed of each trial is the official program's."""
    sampling = endpoint.sampling
    return {
        "api_base": endpoint.base_url,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "extra_body": sampling.extra_body(),
        "num_retries": request.settings.retries,
        "timeout": request.settings.timeout_s,
    }


def _environment(request: Tau2Request) -> dict[str, str]:
    """Each side is another provider of LiteLLM's, so that each has its own key; what remains of OpenAI's is the judge."""
    judge = request.settings.official.judge
    return {
        "HOSTED_VLLM_API_KEY": request.endpoint.api_key(),
        "LITELLM_PROXY_API_KEY": request.simulator.api_key(),
        "OPENAI_API_KEY": judge.api_key() if judge else "EMPTY",
        "OPENAI_API_BASE": judge.base_url if judge else NOWHERE,
        "OPENAI_BASE_URL": judge.base_url if judge else NOWHERE,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it is fetched at each start
    }


def _written(place: Path) -> int:
    apart = place / "simulations"
    if apart.is_dir():
        return len(list(apart.glob("*.json")))
    results = place / "results.json"
    return results.read_bytes().count(b'"termination_reason"') if results.is_file() else 0


def _keep(request: Tau2Request, domain: str, place: Path) -> None:
    """The trials of results.json that the journal does not hold yet."""
    results = place / "results.json"
    if not results.is_file():
        return
    content = _read(results)
    done = settled(request.journal)
    with open_journal(request.journal) as journal:
        for simulation in _simulations(content, place):
            trial = record(simulation, request, domain)
            if trial.key in done:
                continue
            if trial.success is False:
                trial = write_transcript(request.directory, trial, _notes(simulation), _messages(simulation))
            journal.append(trial, trial.key)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        # A process that was killed while it wrote: the official program cannot go on from such a file either.
        write_atomically(path.with_suffix(".broken.json"), path.read_text(errors="replace"))
        path.unlink()
        raise UserError(
            f"{path} was cut off ({error}) and has been set aside; the same command begins its trials anew"
        ) from None
    if not isinstance(content, dict) or not {"info", "simulations"} <= content.keys():
        raise UserError(f"{path} is no results.json of the official tau2: expected an object with info and simulations")
    return content


def _simulations(content: dict[str, Any], place: Path) -> Iterator[dict[str, Any]]:
    """They stand in results.json, or in a file each beside it."""
    yield from content["simulations"]
    for path in sorted((place / "simulations").glob("*.json")):
        yield json.loads(path.read_bytes())


def record(simulation: Mapping[str, Any], request: Tau2Request, domain: str) -> TrialRecord:
    """A simulation of results.json as a trial. What was not scored, or ended for reasons of infrastructure, was not held."""
    reason, reward = simulation["termination_reason"], simulation.get("reward_info")
    error = None
    if reason == "infrastructure_error" or reward is None:
        error = str((simulation.get("info") or {}).get("error") or f"{reason}, without a reward")
    if error and "hosted_vllm" in error.lower() and exceeds_context(error):
        error, reason, reward = None, "context_length", {"reward": 0.0}
    replies = [message for message in simulation.get("messages") or () if message["role"] == "assistant"]
    usage = [message["usage"] for message in replies if message.get("usage")]
    judge = request.settings.official.judge
    return TrialRecord(
        benchmark="tau2",
        harness=request.settings.harness,
        category=domain,
        task_id=str(simulation["task_id"]),
        trial=simulation["trial"],
        model=request.endpoint.model,
        success=None if error else reward is not None and reward["reward"] == 1.0,
        infrastructure_error=error,
        stop_reason="infrastructure" if error else ENDS.get(reason, reason),
        sampling=request.endpoint.sampling,
        simulator=request.simulator.model,
        judge=judge.model if judge and reward and reward.get("nl_assertions") else None,
        prompt_tokens=sum(counted["prompt_tokens"] for counted in usage),
        completion_tokens=sum(counted["completion_tokens"] for counted in usage),
        seconds=round(sum(message.get("generation_time_seconds") or 0.0 for message in replies), 3),
    )


def _notes(simulation: Mapping[str, Any]) -> list[str]:
    """Which of the checks that count failed."""
    reward = simulation["reward_info"] or {}
    failed = [f"failed: {name}" for name, value in (reward.get("reward_breakdown") or {}).items() if value != 1.0]
    told = [f"not told: {check['info']}" for check in reward.get("communicate_checks") or () if not check["met"]]
    judged = [
        f"judged as not met: {check['nl_assertion']} ({check['justification']})"
        for check in reward.get("nl_assertions") or ()
        if not check["met"]
    ]
    return [*failed, *told, *judged] or [
        str((reward.get("info") or {}).get("note") or simulation["termination_reason"])
    ]


def _messages(simulation: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = []
    for message in simulation.get("messages") or ():
        calls = [
            {"function": {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)}}
            for call in message.get("tool_calls") or ()
        ]
        side = " of the user" if message["role"] == "tool" and message.get("requestor") == "user" else ""
        messages.append({"role": message["role"] + side, "content": message.get("content"), "tool_calls": calls})
    return messages
