"""The official backend against a stand-in (helpers/official_tau2.py) that writes results in the format of 1.0.1."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from core.settings import UserError
from evaluation.endpoint import Endpoint
from evaluation.tau2.benchmark import Tau2
from evaluation.tau2.do_nothing import do_nothing
from evaluation.tau2.official import JUDGE, NOWHERE
from evaluation.trials import TrialRecord
from tests.evaluation.helpers.tau2_runs import run_tau2
from tests.helpers.paths import ROOT

KWARGS = {"enable_thinking": False}
MODEL = Endpoint(
    base_url="http://model/v1",
    model="org/model",
    api_key_env="MODEL_KEY",
    chat_template_kwargs=KWARGS,
    concurrency=5,
)
USER = Endpoint(base_url="http://user/v1", model="simulator", api_key_env="USER_KEY")
JUDGE_ENDPOINT = Endpoint(base_url="http://judge/v1", model="a-judge", api_key_env="JUDGE_KEY")


@pytest.fixture
def executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MODEL_KEY", "USER_KEY", "JUDGE_KEY"):
        monkeypatch.setenv(name, f"the secret {name}")
    path = tmp_path / "bin" / "tau2"
    path.parent.mkdir()
    stand_in = ROOT / "tests/evaluation/helpers/official_tau2.py"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stand_in}" "$@"\n')
    path.chmod(0o755)
    return path


def official_tau2(executable: Path | None, judge: Endpoint | None = JUDGE_ENDPOINT, **more: Any) -> Tau2:
    official = {"executable": executable, "version": "1.0.1", "judge": judge}
    return Tau2(**{"backend": "official", "official": official, "user": USER, "attempts": 1, **more})


def second_trial_outcomes(records: list[TrialRecord]) -> dict[str, tuple[bool | None, str]]:
    return {record.task_id: (record.success, record.stop_reason) for record in records if record.trial == 1}


def test_results_become_trials_and_infrastructure_errors_run_again(executable: Path, tmp_path: Path) -> None:
    benchmark = official_tau2(executable, smoke={"retail": tuple("012345"), "airline": ("0",)})
    ticks: list[tuple[str, int, int]] = []
    records = run_tau2(benchmark, MODEL, tmp_path / "run", 2, lambda *progress: ticks.append(progress))
    assert len(records) == 14
    assert second_trial_outcomes([record for record in records if record.category == "retail"]) == {
        "0": (True, "stop"),
        "1": (False, "stop"),
        "2": (None, "infrastructure"),
        "3": (False, "max_steps"),
        "4": (False, "context_length"),
        "5": (False, "stop"),
    }
    failed = next(record for record in records if record.task_id == "1")
    assert (failed.prompt_tokens, failed.completion_tokens, failed.seconds) == (30, 8, 0.5), "without the user's tokens"
    assert (failed.simulator, failed.harness, failed.model) == ("simulator", "official tau2 1.0.1", "org/model")
    assert {record.task_id: record.judge for record in records}["5"] == "a-judge"
    assert failed.judge is None, "the judge had no assertion to decide"
    assert records[2].infrastructure_error == "connection refused"
    assert ticks[-1] == ("τ²-bench", 14, 14)

    resumed = run_tau2(benchmark, MODEL, tmp_path / "run", 2)
    assert second_trial_outcomes(resumed) == second_trial_outcomes(records) | {"2": (True, "stop")}
    assert run_tau2(benchmark, MODEL, tmp_path / "run", 2) == resumed
    calls = (tmp_path / "run/official/retail/calls.jsonl").read_text().splitlines()
    assert len(calls) == 2, "nothing remained for a third call"
    assert (tmp_path / "run/official/airline/calls.jsonl").read_text().count("\n") == 1, (
        "no infrastructure error in that domain"
    )
    _check_transcripts(tmp_path / "run")
    _check_call(json.loads(calls[0]))


def _check_transcripts(directory: Path) -> None:
    names = {str(path.relative_to(directory / "transcripts")) for path in directory.glob("transcripts/*/*")}
    assert names == {f"retail/{task}-{trial}.txt" for task in "1345" for trial in (0, 1)}
    transcript = (directory / "transcripts/retail/1-1.txt").read_text()
    assert "failed: DB\nnot communicated: 42\n" in transcript
    assert '-> get_user({"user_id": "ü"})' in transcript
    assert "judged as not met: It is kind. (It was not.)" in (directory / "transcripts/retail/5-0.txt").read_text()
    assert "Simulation terminated prematurely." in (directory / "transcripts/retail/3-0.txt").read_text()


def _check_call(call: dict[str, Any]) -> None:
    arguments = call["arguments"]
    assert "secret" not in json.dumps(arguments), "arguments are written to results.json"
    assert arguments["--domain"] == "retail"
    assert arguments["--task-ids"] == list("012345")
    assert (arguments["--num-trials"], arguments["--max-steps"], arguments["--max-concurrency"]) == ("2", "200", "5")
    assert (arguments["--agent-llm"], arguments["--user-llm"]) == ("hosted_vllm/org/model", "litellm_proxy/simulator")
    agent, user = (json.loads(arguments[f"--{side}-llm-args"]) for side in ("agent", "user"))
    assert (agent["api_base"], agent["temperature"]) == ("http://model/v1", 0.6)
    assert agent["extra_body"] == {"top_k": 20, "chat_template_kwargs": KWARGS}
    assert user["api_base"] == "http://user/v1"
    assert call["environment"] == {
        "HOSTED_VLLM_API_KEY": "the secret MODEL_KEY",
        "LITELLM_PROXY_API_KEY": "the secret USER_KEY",
        "OPENAI_API_KEY": "the secret JUDGE_KEY",
        "OPENAI_API_BASE": "http://judge/v1",
        "OPENAI_BASE_URL": "http://judge/v1",
    }


def test_without_a_judge_no_hosted_model_can_be_reached(
    executable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key of a hosted model")
    records = run_tau2(official_tau2(executable, None, smoke={"airline": ("0",)}), MODEL, tmp_path / "run")
    assert do_nothing(records) == {"airline": 1.0}
    call = json.loads((tmp_path / "run/official/airline/calls.jsonl").read_text())
    assert {value for name, value in call["environment"].items() if name.startswith("OPENAI")} == {"EMPTY", NOWHERE}


def test_two_harnesses_in_one_directory_are_refused(executable: Path, tmp_path: Path) -> None:
    run_tau2(official_tau2(executable, smoke={"airline": ("0",)}), MODEL, tmp_path / "run")
    for other in (
        Tau2(smoke={"airline": ("0",)}),
        official_tau2(executable, smoke={"airline": ("0",)}, max_steps=9),
    ):
        with pytest.raises(
            UserError, match=r"contains trials of 'official tau2 1\.0\.1'; those of '.+' cannot be mixed"
        ):
            run_tau2(other, MODEL, tmp_path / "run")


@pytest.mark.parametrize(
    ("official", "error"),
    [
        ({"version": "1.0.1"}, "version=1.0.1 was given; expected with it benchmarks.tau2.official.executable"),
        ({"executable": "no-such-program", "version": "1"}, "executable=no-such-program was given"),
        ({"executable": "sh"}, "official.version, the installed release"),
        ({"executable": "sh", "version": "1"}, f"scored by a judge, .*{JUDGE}.*, or domains without retail"),
    ],
)
def test_missing_requirements_are_named_before_anything_runs(official: dict[str, str], error: str) -> None:
    with pytest.raises(UserError, match=error):
        Tau2(backend="official", subset="full", domains=["airline", "retail"], official=official)


def test_an_incomplete_results_file_is_renamed(executable: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run/official/airline"
    directory.mkdir(parents=True)
    (directory / "results.json").write_text('{"info": {}, "simul')
    benchmark = official_tau2(executable, smoke={"airline": ("0",)})
    executable.write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(UserError, match=r"is incomplete .* was renamed to results\.broken\.json"):
        run_tau2(benchmark, MODEL, tmp_path / "run")
    assert (directory / "results.broken.json").is_file()
    assert not (directory / "results.json").exists()
