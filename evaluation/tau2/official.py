"""τ²-bench through the official code: release 0.2.0 from PyPI, or a `tau2` executable that the user installed
(github.com/sierra-research/tau2-bench). The two have different tasks, and their scores are never in one table.

Each domain is run at once, and interrupted runs are resumed. Scores are read from the official results, never
recomputed. Release 0.2.0 runs in its own environment (`evaluation.tau2.packaged`) and has no judge. The executable is
called as release 1.0.1 wants it, which by default judges natural-language assertions with a hosted model. Here the
judge is an endpoint that the user names; without it the domain that needs a judge is refused. Hosted models are
unreachable.

API keys are passed through the environment only, because the program writes its arguments to results.json. It does not
write the tools' schemas, so calls are not counted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.files import write_atomically
from core.server_protocol import exceeds_context, token_counts, total
from core.settings import UserError
from evaluation.endpoint import Endpoint
from evaluation.tau2.blame import find_blame
from evaluation.tau2.packaged import require_environment, run_packaged
from evaluation.tau2.settings import PACKAGED_VERSION, OfficialSettings, Tau2Request
from evaluation.tau2.tasks import tasks
from evaluation.transcripts import write_transcript
from evaluation.trials import TrialRecord, completed_keys, open_journal, read_trials, trial_key
from evaluation.worker_process import run_worker

JUDGE = "gpt-4.1-2025-04-14"
"""The model name with which release 1.0.1 requests its judge."""
JUDGED = ("retail",)
"""Domains with natural-language assertions in release 1.0.1."""
NOWHERE = "http://127.0.0.1:9/v1"
"""A base URL without a server, in place of a hosted model's."""
AGENT, USER = "hosted_vllm", "litellm_proxy"
"""The LiteLLM providers of the two sides: different ones, so that each has its own API key."""
STOP_REASONS = {"user_stop": "stop", "agent_stop": "stop"}


def check(official: OfficialSettings, selected: Mapping[str, Sequence[str]]) -> None:
    """Raises UserError if the executable does not exist, or if its version or the judge of a domain that needs one is
    missing. Release 0.2.0 needs nothing."""
    if official.executable is None:
        if official.version not in (None, PACKAGED_VERSION):
            raise UserError(
                f"benchmarks.tau2.official.version={official.version} was given; expected with it "
                "benchmarks.tau2.official.executable, the path of the `tau2` program of that release; without both, "
                f"release {PACKAGED_VERSION} runs"
            )
        return
    if shutil.which(official.executable) is None:
        raise UserError(
            f"benchmarks.tau2.official.executable={official.executable} was given; expected the path of the `tau2` "
            "program of github.com/sierra-research/tau2-bench, which you install yourself, or null for release "
            f"{PACKAGED_VERSION} from PyPI"
        )
    if not official.version:
        raise UserError(
            "official.executable expects benchmarks.tau2.official.version, the installed release: `pip show tau2`"
        )
    if unjudged := [domain for domain in JUDGED if domain in selected and official.judge is None]:
        raise UserError(
            f"the official τ² {unjudged[0]} is scored by a judge, a hosted model by default; expected "
            "benchmarks.tau2.official.judge={base_url: …, model: …}, "
            f"a server that offers its model as {JUDGE!r}, or domains without {unjudged[0]}"
        )


def run_official(request: Tau2Request, tick: Callable[[int], None]) -> None:
    """Runs every selected domain and appends its trials to the journal. Raises HarnessError if the official code
    fails."""
    selected, official = request.settings.tasks(), request.settings.official
    check(official, selected)
    if official.executable is None:
        require_environment(official.python)
    directories = {domain: request.directory / "official" / domain for domain in selected}
    for domain, directory in directories.items():
        directory.mkdir(parents=True, exist_ok=True)
        _append_to_journal(request, domain, directory)  # what a killed run has left
    pending = {domain: ids for domain, ids in selected.items() if not _complete(request, domain, ids)}

    def count() -> None:
        tick(sum(map(_finished, (request.directory / "official").iterdir())))

    try:
        if official.executable is None and pending:
            packaged = _packaged_request(request, pending, directories)
            run_packaged(official.python, packaged, request.directory, _environment(request), count)
        elif official.executable:
            for domain, ids in pending.items():
                command = [str(official.executable), *_arguments(request, domain, ids, directories[domain])]
                run_worker(command, _environment(request), request.directory / "worker.log", count)
    finally:
        for domain in pending:
            _append_to_journal(request, domain, directories[domain])


def _complete(request: Tau2Request, domain: str, ids: Sequence[str]) -> bool:
    done = completed_keys(request.journal)
    return all(
        trial_key({"benchmark": "tau2", "category": domain, "task_id": name, "trial": trial}) in done
        for name in ids
        for trial in range(request.trials)
    )


def _packaged_request(
    request: Tau2Request, selected: Mapping[str, Sequence[str]], directories: Mapping[str, Path]
) -> dict[str, Any]:
    """The request of evaluation.tau2.official_worker.simulate."""
    done = [record for record in read_trials(request.journal) if record.success is not None]
    domains = {
        domain: {
            "tasks": list(ids),
            "done": [[record.task_id, record.trial] for record in done if record.category == domain],
            "directory": str(directories[domain]),
        }
        for domain, ids in selected.items()
    }
    return {
        "domains": domains,
        "trials": request.trials,
        "seed": request.settings.seed,
        "max_steps": request.settings.max_steps,
        "concurrency": request.endpoint.concurrency,
        "agent": {"model": f"{AGENT}/{request.endpoint.model}", "arguments": _sampling(request, request.endpoint)},
        "user": {"model": f"{USER}/{request.simulator.model}", "arguments": _sampling(request, request.simulator)},
    }


def _arguments(request: Tau2Request, domain: str, ids: Sequence[str], directory: Path) -> list[str]:
    settings = request.settings
    full = settings.subset == "full"
    return [
        "run",
        *("--domain", domain),
        *("--task-split-name", settings.split if full else "base"),
        *(() if full else ("--task-ids", *ids)),
        *("--agent-llm", f"{AGENT}/{request.endpoint.model}"),
        *("--agent-llm-args", json.dumps(_sampling(request, request.endpoint))),
        *("--user-llm", f"{USER}/{request.simulator.model}"),
        *("--user-llm-args", json.dumps(_sampling(request, request.simulator))),
        *("--num-trials", str(request.trials)),
        *("--max-steps", str(settings.max_steps)),
        *("--max-concurrency", str(request.endpoint.concurrency)),
        *("--seed", str(settings.seed)),
        *("--save-to", str(directory)),
        "--auto-resume",
    ]


def _sampling(request: Tau2Request, endpoint: Endpoint) -> dict[str, Any]:
    """Arguments for LiteLLM. The official program chooses the seed of each trial."""
    sampling = endpoint.sampling
    return {
        "api_base": endpoint.base_url,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "extra_body": endpoint.extra_body(),
        "num_retries": request.settings.retries,
        "timeout": request.settings.timeout_s,
    }


def _environment(request: Tau2Request) -> dict[str, str]:
    """API keys of agent and user; the judge has OpenAI's."""
    judge = request.settings.official.judge
    return {
        "HOSTED_VLLM_API_KEY": request.endpoint.api_key(),
        "LITELLM_PROXY_API_KEY": request.simulator.api_key(),
        "OPENAI_API_KEY": judge.api_key() if judge else "EMPTY",
        "OPENAI_API_BASE": judge.base_url if judge else NOWHERE,
        "OPENAI_BASE_URL": judge.base_url if judge else NOWHERE,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else LiteLLM downloads it at every start
    }


def _finished(directory: Path) -> int:
    """Number of simulations that the program has written to a domain's directory."""
    simulations = directory / "simulations"
    if simulations.is_dir():
        return len(list(simulations.glob("*.json")))
    results = directory / "results.json"
    return results.read_bytes().count(b'"termination_reason"') if results.is_file() else 0


def _append_to_journal(request: Tau2Request, domain: str, directory: Path) -> None:
    """Appends the trials of results.json that the journal lacks."""
    results = directory / "results.json"
    if not results.is_file():
        return
    content = _read(results)
    done = completed_keys(request.journal)
    with open_journal(request.journal) as journal:
        for simulation in _simulations(content, directory):
            trial = _trial_record(simulation, request, domain)
            if trial.key in done:
                continue
            if trial.success is False:
                messages = _messages(simulation)
                trial = trial.blamed(find_blame(tasks(domain)[trial.task_id], messages, trial.stop_reason))
                trial = write_transcript(request.directory, trial, _notes(simulation), messages)
            journal.append(trial, trial.key)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        # The process was killed while writing. The official program cannot resume from such a file either.
        broken = path.with_suffix(".broken.json")
        write_atomically(broken, path.read_text(errors="replace"))
        path.unlink()
        raise UserError(
            f"{path} is incomplete ({error}) and was renamed to {broken.name}; the same command restarts its trials"
        ) from None
    if not isinstance(content, dict) or not {"info", "simulations"} <= content.keys():
        raise UserError(
            f"{path} is not a results.json of the official tau2: expected an object with info and simulations"
        )
    return content


def _simulations(content: dict[str, Any], directory: Path) -> Iterator[dict[str, Any]]:
    """The simulations of results.json, or of the separate files next to it."""
    yield from content["simulations"]
    for path in sorted((directory / "simulations").glob("*.json")):
        yield json.loads(path.read_bytes())


def _trial_record(simulation: Mapping[str, Any], request: Tau2Request, domain: str) -> TrialRecord:
    """Converts a simulation of results.json to a trial record.

    One without a score is an infrastructure error, unless it exceeded the context of the evaluated model.
    """
    reason, reward = simulation["termination_reason"], simulation.get("reward_info")
    error = None
    if reason == "infrastructure_error" or reward is None:
        error = str((simulation.get("info") or {}).get("error") or f"{reason}, without a reward")
    # Release 0.2.0 names the side that failed, the executable only the provider.
    side = (simulation.get("info") or {}).get("side") or ("agent" if error and AGENT in error.lower() else "")
    if error and side == "agent" and exceeds_context(error):
        error, reason, reward = None, "context_length", {"reward": 0.0}
    replies = [message for message in simulation.get("messages") or () if message["role"] == "assistant"]
    # The program itself writes the greeting, without usage and time.
    answers = [reply for reply in replies if reply.get("usage") or reply.get("generation_time_seconds")]
    counts = [token_counts(answer) for answer in answers]
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
        stop_reason="infrastructure" if error else STOP_REASONS.get(reason, reason),
        sampling=request.endpoint.sampling,
        simulator=request.simulator.model,
        judge=judge.model if judge and reward and reward.get("nl_assertions") else None,
        prompt_tokens=total(prompt for prompt, _ in counts),
        completion_tokens=total(completion for _, completion in counts),
        seconds=round(sum(message.get("generation_time_seconds") or 0.0 for message in replies), 3),
    )


def _notes(simulation: Mapping[str, Any]) -> list[str]:
    """Why the trial failed: the failed checks, or else why the simulation ended."""
    reward = simulation["reward_info"] or {}
    failed = [f"failed: {name}" for name, value in (reward.get("reward_breakdown") or {}).items() if value != 1.0]
    omitted = [
        f"not communicated: {check['info']}" for check in reward.get("communicate_checks") or () if not check["met"]
    ]
    unmet = [
        f"judged as not met: {check['nl_assertion']} ({check['justification']})"
        for check in reward.get("nl_assertions") or ()
        if not check["met"]
    ]
    return [*failed, *omitted, *unmet] or [
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
