"""The evaluation stage from config to tables, against servers that fail, resume, or have no room to answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from core.manifest import read_manifest
from core.runs import open_run
from core.settings import UserError, typed
from evaluation.benchmark import Benchmark, EvaluationContext
from evaluation.metrics.scores import read_records
from evaluation.reports.tables import tables
from evaluation.run import neutral_keys, require_room_to_answer, run_trials
from evaluation.targets import EvaluateSettings, Target
from evaluation.trials import TrialRecord
from generation.llm.openai import TRANSPORT_KEYS
from generation.seeds.bundled import BundledSeeds
from scripts.evaluate import main
from scripts.launch import CONF
from tests.evaluation.helpers.replay import UNCOUNTED, AnswerPolicy, ReplayServer, say
from tests.evaluation.helpers.trials import trial


def configured(url: str, outputs: Path, *more: str) -> DictConfig:
    small = {"dialogues": 2, "categories": "[unseen_databases]"}
    overrides = [
        "benchmark=[heldout]",
        "trials=1",
        "ks=[1]",
        f"base_url={url}",
        f"outputs={outputs}",
        "tracking.mode=disabled",
        *(f"benchmarks.heldout.{key}={value}" for key, value in small.items()),
        *more,
    ]
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return hydra.compose("evaluate", ["profile=tiny", *overrides])


def test_a_run_with_infrastructure_errors_stays_open_and_the_same_command_finishes_it(
    serve: Callable[[AnswerPolicy], ReplayServer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = True

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return {"status": 501, "message": "not today"} if failing else say("I am here to help.")

    config = configured(serve(answer).base_url, tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(config)
    assert ended.value.code == 1
    output = capsys.readouterr().out
    assert "2 of 2 trials had infrastructure errors" in output
    assert "2 trials of heldout with replay_model-x, for example: " in output
    assert "Pass@1" not in output
    (run,) = (tmp_path / "evaluate").iterdir()
    assert len(read_records(run)) == 2
    assert not (run / "results.json").exists()
    assert not (tmp_path / "tables").exists()
    with pytest.raises(UserError, match="was not scored"):
        tables(None, (run,))
    failing = False
    patient = ("timeout_s=500", "outage_s=9")
    knobs = ("concurrency=3", "api_key_env=ANOTHER", *(f"benchmarks.heldout.{knob}" for knob in patient))
    main(configured(config.base_url, tmp_path, *knobs))
    assert "resuming" in capsys.readouterr().out
    assert {folder.resolve() for folder in (tmp_path / "evaluate").iterdir()} == {run}, "`latest` is a link to it"
    results = json.loads((run / "results.json").read_text())
    summary = results["models"][0]["benchmarks"]["heldout"]
    assert (summary["trials"], summary["infrastructure_errors"], summary["pass_at"]["1"]["value"]) == (2, 0, 0.0)
    assert results["errors_allowed"] == 0
    records = read_records(run)
    assert {record.success for record in records} == {False}
    assert all("FAILED " in (run / str(record.transcript)).read_text() for record in records)
    assert f"{run / str(records[0].transcript)}" in (run / "summary.txt").read_text()
    text = (tmp_path / "tables" / "tables.md").read_text()
    assert "**replay_model-x** [1]" in text
    assert "replay_model-x (ours)" not in text
    assert "†" not in text
    assert (tmp_path / "tables" / "figure_5.png").is_file()


def test_neutral_keys_exist() -> None:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = hydra.compose("evaluate", ["profile=tiny", "llm@benchmarks.heldout.simulator=vllm"])
    missing = object()
    benchmarks = {name: hydra.utils.get_class(keys["_target_"]) for name, keys in config.benchmarks.items()}
    assert set(benchmarks) == {"bfcl", "tau2", "heldout"}
    absent = [name for name in neutral_keys(benchmarks) if OmegaConf.select(config, name, default=missing) is missing]
    assert set(absent) <= {f"benchmarks.heldout.simulator.{key}" for key in TRANSPORT_KEYS}, "these have defaults"


def test_a_context_without_room_for_any_answer_is_not_scored(
    serve: Callable[[AnswerPolicy], ReplayServer], tmp_path: Path
) -> None:
    refusal = {"status": 400, "message": "This model's maximum context length is 256 tokens."}
    config = configured(serve(lambda body: dict(refusal)).base_url, tmp_path)
    with pytest.raises(
        UserError, match=r"replay_model-x could not answer at all in heldout: .* sampling\.max_tokens=320"
    ):
        main(config)
    assert not list((tmp_path / "evaluate").glob("*/results.json"))


def test_an_answer_is_scored_although_its_server_counts_no_tokens(
    serve: Callable[[AnswerPolicy], ReplayServer], tmp_path: Path
) -> None:
    main(configured(serve(lambda body: {"answer": UNCOUNTED}).base_url, tmp_path))
    (run,) = {folder.resolve() for folder in (tmp_path / "evaluate").iterdir()}
    records = read_records(run)
    assert {(r.success, r.prompt_tokens, r.completion_tokens) for r in records} == {(False, None, None)}
    assert all(record.truncations for record in records)


def test_only_a_model_that_could_never_answer_is_refused() -> None:
    cut_off = [trial("bfcl", "c", n, 0, False, stop_reason="context_length", completion_tokens=0) for n in range(2)]
    answered = trial("bfcl", "c", 2, 0, False, stop_reason="context_length", completion_tokens=1)
    stopped = trial("bfcl", "c", 2, 0, False, stop_reason="stop", completion_tokens=0)
    uncounted = trial("bfcl", "c", 2, 0, False, stop_reason="length", truncations=1)
    for other in (answered, stopped, uncounted, trial("bfcl", "c", 2, 0, None, stop_reason="infrastructure")):
        require_room_to_answer([*cut_off, other])
    for records in (
        cut_off,
        [*cut_off, trial("tau2", "c", 2, 0, True)],
        [*cut_off, answered.model_copy(update={"model": "n"})],
    ):
        with pytest.raises(UserError, match="each of the 2 trials"):
            require_room_to_answer(records)


def test_allowed_errors_are_marked_everywhere(
    serve: Callable[[AnswerPolicy], ReplayServer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        broken = "freight" in body["messages"][0]["content"]
        return {"status": 501, "message": "not today"} if broken else say("I am here to help.")

    first, allowed = (configured(serve(answer).base_url, tmp_path, *more) for more in ((), ("allow_errors=true",)))
    with pytest.raises(SystemExit):
        main(first)
    first.allow_errors = True
    main(first)
    assert "resuming" in (output := capsys.readouterr().out)
    assert "1 INFRASTRUCTURE ERRORS" in output
    main(allowed)
    runs = {folder.resolve() for folder in (tmp_path / "evaluate").iterdir()}
    for run in runs:
        assert json.loads((run / "results.json").read_text())["errors_allowed"] == 1
        assert "1 INFRASTRUCTURE ERRORS" in (run / "summary.txt").read_text()
    assert "**replay_model-x** [1]†" in (tmp_path / "tables" / "tables.md").read_text()


def test_two_endpoints_are_compared_on_the_users_database(
    serve: Callable[[AnswerPolicy], ReplayServer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (seed,) = BundledSeeds(tmp_path / "seeds", ["museum"]).load()
    urls = [serve(lambda body: say("I am here to help.")).base_url for _ in range(2)]
    databases = "benchmarks.heldout.databases"
    overrides = (f"domains@{databases}=sqlite", f"{databases}.paths=[{seed.database}]")
    main(configured(f"[{','.join(urls)}]", tmp_path, *overrides))
    assert "replay_model-x − replay_model-x-2" in capsys.readouterr().out
    run = (tmp_path / "evaluate" / "latest").resolve()
    names = [difference["name"] for difference in json.loads((run / "results.json").read_text())["differences"]]
    assert names == ["heldout", "heldout/unseen_databases"]
    records = read_records(run)
    by_model = {name: [r.task for r in records if r.model == name] for name in ("replay_model-x", "replay_model-x-2")}
    assert [len(tasks) for tasks in by_model.values()] == [2, 2]
    assert set(map(frozenset, by_model.values())) == {frozenset(record.task for record in records)}
    assert {record.axes["database"] for record in records} == {str(seed.database and seed.database.stem)}


def test_a_server_with_the_wrong_parser_ends_the_evaluation_before_any_benchmark(
    serve: Callable[[AnswerPolicy], ReplayServer], tmp_path: Path
) -> None:
    text = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
    server = serve(lambda body: say(text if "tools" in body else "It lends books."))
    with pytest.raises(UserError, match=r"replay_model/x at .* left the tool call in the text: .* hermes"):
        main(configured(server.base_url, tmp_path))
    assert len(server.requests) == 2, "the two questions of the check"


def test_a_weak_model_is_evaluated_with_a_warning(
    serve: Callable[[AnswerPolicy], ReplayServer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(lambda body: say("I am here to help."))
    main(configured(server.base_url, tmp_path, "chat_template_kwargs={enable_thinking: false}"))
    assert "the model did not call the tool when asked to (its answer: 'I am here to help.')" in capsys.readouterr().out
    assert all(body["chat_template_kwargs"] == {"enable_thinking": False} for body in server.requests)


class Recording(Benchmark):
    """A benchmark that records its contexts."""

    def __init__(self) -> None:
        self.contexts: list[EvaluationContext] = []

    def run(self, context: EvaluationContext, directory: Path, progress: Any = None) -> list[TrialRecord]:
        self.contexts.append(context)
        return [trial("b", "c", 1, 0, True)]

    def metrics(self, records: Any) -> dict[str, float | None]:
        return {}


def test_a_model_with_unknown_training_data_gets_the_databases_of_the_others(tmp_path: Path) -> None:
    with open_run(tmp_path, "generate", {}) as generation:
        generation.finish({})
    with open_run(tmp_path, "train", {}, group=generation.manifest.run_id) as run:
        run.finish({"data": {"validation_domains": ["gym"]}})
    config = configured("http://127.0.0.1:9/v1", tmp_path)
    endpoint = {"base_url": "http://127.0.0.1:9/v1", "served_model": "m"}
    targets = [Target("endpoint", **endpoint), Target("ours", **endpoint, training=read_manifest(run.directory))]
    benchmark = Recording()
    records = run_trials(
        typed(config, EvaluateSettings), targets, lambda: {"b": benchmark}, tmp_path, Console(quiet=True)
    )
    assert [record.model for record in records] == ["endpoint", "ours"] == [r.model for r in read_records(tmp_path)]
    for context in benchmark.contexts:
        assert context.generations == context.all_generations == (generation.directory,)
        assert (context.validation_domains, context.shared) == ({"gym"}, tmp_path / "shared")


def test_a_benchmark_that_cannot_be_run_is_refused_before_a_model_is_served(tmp_path: Path) -> None:
    class Demanding(Recording):
        def check(self, generations: Sequence[Path]) -> None:
            if not generations:
                raise UserError("needs the generation run")

    served = Target("trained", tmp_path / "no such model")
    settings = typed(configured("http://127.0.0.1:9/v1", tmp_path), EvaluateSettings)
    with pytest.raises(UserError, match="needs the generation run"):
        run_trials(settings, [served], lambda: {"b": Demanding()}, tmp_path, Console(quiet=True))
