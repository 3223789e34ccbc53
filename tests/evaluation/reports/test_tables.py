"""Tables 1 to 4: the paper's numbers as printed, ours recomputed here, and all caveats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.journal import RecordError
from core.runs import open_run
from core.settings import UserError
from evaluation.reports.benchmark_tables import pipeline_of
from evaluation.reports.figure_5 import curves, panels
from evaluation.reports.paper import TABLE_2, TABLE_2_COLUMNS
from evaluation.reports.tables import tables
from tests.evaluation.helpers.finished_runs import (
    EVALUATION,
    GENERATION,
    STATISTICS,
    axes,
    evaluation,
    finished,
    ours,
    table_of,
)
from tests.evaluation.helpers.trials import trial


def test_without_runs_tables_have_only_the_papers_rows() -> None:
    (one, two, three, four), evaluated = tables(None, ())
    assert [len(t.rows) for t in (one, two, three, four)] == [5, 17, 6, 2]
    assert evaluated == []
    assert three.rows[1] == ("task-oriented", "Qwen3-30B (paper)", "53.8", "26.3")
    assert three.rows[4] == ("user-oriented + tool execution", "Qwen3-4B (paper)", "52.7", "35.1")
    assert one.rows[4] == (
        "user-oriented + execution (paper)",
        "SQL",
        "3.74 (322)",
        "30.85 (680)",
        "1.86 (11)",
        "16,618",
    )
    assert four.rows[0] == ("task-oriented (paper)", "GPT-OSS-120b, 32 H100", "0.64", "8,819")
    by_name = {row[0]: row[1:] for row in two.rows}
    assert by_name["Qwen3-30B + OURS"][:8] == ("55.5", "86.5", "90.1", "88.9", "83.8", "56.0", "57.8", "42.1")
    assert by_name["Gemini-3.0-Pro (reported)"] == ("–", "–", "–", "–", "–", "73.0", "85.3", "85.4", "–", "–", "–")
    assert all(len(row) == len(t.columns) for t in (one, two, three, four) for row in t.rows)
    assert all(len(values) == len(TABLE_2_COLUMNS) for _, values in TABLE_2)


def test_generation_rows_come_from_the_manifest(tmp_path: Path) -> None:
    without = STATISTICS | {"latency_s": None, "throughput": None}
    run = finished(tmp_path, "generate", GENERATION, {"user_oriented": STATISTICS, "task_oriented": without})
    one, _, _, four = tables(run, ())[0]
    assert ours(one)[0] == ("**user_oriented (ours)**", "BundledSeeds", "1.25 (4)", "17.00 (37)", "2.00 (4)", "1,234")
    assert [row[2:] for row in ours(four)] == [("0.074", "16,122"), ("–", "–")]
    assert run.name in one.notes[0]
    assert "stand-in without weights" in one.notes[0]


@pytest.mark.parametrize(
    ("llm", "serve", "name"),
    [
        ({"_target_": "generation.llm.openai.OpenAILLM", "model": None}, "openai/gpt-oss-120b", "openai/gpt-oss-120b"),
        ({"_target_": "generation.llm.openai.OpenAILLM", "model": "qwen"}, None, "qwen"),
    ],
)
def test_a_real_model_is_named(llm: dict[str, Any], serve: str | None, name: str, tmp_path: Path) -> None:
    run = finished(tmp_path, "generate", GENERATION | {"llm": llm, "serve": serve}, {"user_oriented": STATISTICS})
    one, _, _, four = tables(run, ())[0]
    assert ours(four)[0][1] == name
    assert one.notes == (f"ours: run {run.name}, model {name}",)


def test_models_of_single_roles_are_named_too(tmp_path: Path) -> None:
    scripted = {"_target_": "generation.scripted.llm.ScriptedLLM"}
    qwen = {"_target_": "generation.llm.openai.OpenAILLM", "model": "qwen"}
    config = GENERATION | {
        "llm": qwen,
        "roles": {"user": scripted, "agent": qwen, "judge": scripted},
    }
    run = finished(tmp_path, "generate", config, {"user_oriented": STATISTICS})
    one, _, _, four = tables(run, ())[0]
    assert ours(four)[0][1] == "qwen + ScriptedLLM"
    assert one.notes[0].startswith(f"ours: run {run.name}, model qwen; ScriptedLLM as user, judge; ")
    assert "stand-in without weights" in one.notes[0]


def test_evaluation_rows_are_pass_at_1_of_completed_trials(tmp_path: Path) -> None:
    records = [
        *(trial("bfcl", "simple_python", task, 0, task == 1) for task in (1, 2)),
        trial("bfcl", "multi_turn_base", 3, 0, True, truncations=2),
        *(
            trial("tau2", "retail", 1, n, success, simulator="alice")
            for n, success in enumerate((True, False, False, False))
        ),
        *(trial("tau2", "retail", 12, n, success, judge="bob") for n, success in enumerate((True, True))),
        *(trial("heldout", "unseen_databases", t, 0, t < 3, calls=4, valid_calls=2) for t in range(8)),
        trial("heldout", "unseen_databases,tasks_per_dialogue=4", 9, 0, True),
    ]
    run = evaluation(tmp_path, records, {"m": {"user_oriented": 1.0}})
    two = table_of(tables(None, (run,))[0], "table_2")
    (row,) = ours(two)
    assert row[0] == "**m: user_oriented (ours)** [1]"
    # Retail: task 1 passes a quarter of its trials, task 12 all of them; unseen databases at the base alone.
    assert row[1:] == ("100.0", "–", "50.0", "–", "–", "–", "62.5", "–", "37.5", "–", "50.0")
    # Doing nothing passes retail's task 12 and not its task 1.
    assert two.rows[-1] == ("doing nothing [1]", *"–––––", "–", "50.0", "–", "–", "–", "–")
    notes = "\n".join(two.notes)
    for caveat in (
        run.name,
        "subset smoke, 2 trials",
        "tiny",
        "m: runs/m",
        "bfcl 1; 3 tasks (1 multi_turn_base, 2 simple_python)",
        "tau2: inspect-evals 0.26.0 tau2; 2 tasks (2 retail); simulator alice; judge bob; doing nothing passes retail 50 %",
        "1 of 18 trials had a reply cut at max_tokens",
    ):
        assert caveat in notes
    assert "infrastructure" not in notes
    assert all(note.startswith("[1] ") for note in two.notes[1:])


def test_only_a_model_that_we_trained_is_ours(tmp_path: Path) -> None:
    records = [
        trial(
            "heldout",
            "unseen_databases",
            1,
            n,
            True,
            model=model,
            axes=axes("tasks_per_dialogue" * (n > 0), str(n + 1)),
        )
        for model in ("trained", "untrained", "qwen")
        for n in range(2)
    ]
    run = evaluation(tmp_path, records, {"trained": {"user_oriented": 1.0}})
    two, three, heldout = (table_of(tables(None, (run,))[0], name) for name in ("table_2", "table_3", "heldout"))
    assert [row[0] for row in two.rows[-3:]] == [
        "**trained: user_oriented (ours)** [1]",
        "**untrained** [1]",
        "**qwen** [1]",
    ]
    for table in (two, three, heldout):
        named = [cell for row in table.rows for cell in row if "(ours)" in cell]
        assert named
        assert set(named) == {"**trained: user_oriented (ours)** [1]"}


def test_disputed_tasks_of_bfcl_have_a_row_of_their_own(tmp_path: Path) -> None:
    tasks = ("live_simple_1-1-0", "live_simple_106-63-0", "live_simple_112-68-0", "live_simple_2-2-0")
    records = [trial("bfcl", "live_simple", task, 0, number == 0) for number, task in enumerate(tasks)]
    two = table_of(tables(None, (evaluation(tmp_path, records),))[0], "table_2")
    assert [row[:4] for row in two.rows[-2:]] == [
        ("**m** [1]", "–", "25.0", "–"),
        ("**m** [1], undisputed tasks of BFCL", "–", "50.0", "–"),
    ]
    undisputed = table_of(tables(None, (evaluation(tmp_path, [records[0], records[3]], seed=1),))[0], "table_2")
    assert len(undisputed.rows) == len(two.rows) - 1


def test_allowed_errors_mark_the_model_everywhere(tmp_path: Path) -> None:
    with_error = [trial("tau2", "telecom", 1, 0, True), trial("tau2", "telecom", 1, 1, None)]
    without = [trial("tau2", "telecom", 1, 0, True, model="fine")]
    weights = {"m": {"user_oriented": 1.0}, "fine": {"user_oriented": 1.0}}
    paper_tables, evaluated = tables(None, (evaluation(tmp_path, [*with_error, *without], weights, errors=1),))
    for name in ("table_2", "table_3"):
        labels = [cell for row in table_of(paper_tables, name).rows for cell in row if "(ours)" in cell]
        assert labels == ["**m: user_oriented (ours)** [1]†", "**fine: user_oriented (ours)** [1]"]
        assert any("1 of 3 trials had infrastructure errors" in note for note in table_of(paper_tables, name).notes)
    assert [curve.label[-1] for curve in curves(panels()[2], evaluated)] == ["†", "]"]


def test_the_ablation_has_our_models_in_the_papers_rows(tmp_path: Path) -> None:
    mixtures = {
        "task_oriented": {"task_oriented": 1.0},
        "user_oriented": {"user_oriented": 1.0, "task_oriented": 0.0},
        "user_oriented+user_oriented_exec": {"user_oriented": 1.0, "user_oriented_exec": 4.0},
        "untrained": {},
    }
    records = [
        record
        for number, name in enumerate(mixtures)
        for record in (
            *(trial("bfcl", "multi_turn_base", task, 0, task <= number, model=name) for task in range(4)),
            trial("tau2", "telecom", 1, 0, number > 0, model=name),
        )
    ]
    first = evaluation(tmp_path, [r for r in records if r.model != "task_oriented"], mixtures)
    second = evaluation(tmp_path, [r for r in records if r.model == "task_oriented"], mixtures, trials=1)
    rows = table_of(tables(None, (first, second))[0], "table_3").rows
    assert [row for row in rows if "(ours)" in row[1]] == [
        ("task-oriented", "**task_oriented (ours)** [2]", "25.0", "0.0"),
        ("user-oriented", "**user_oriented (ours)** [1]", "50.0", "100.0"),
        ("user-oriented + tool execution", "**user_oriented+user_oriented_exec (ours)** [1]", "75.0", "100.0"),
    ]
    alone = table_of(tables(None, (second,))[0], "table_3")
    assert alone.notes[0] == "no model of ours was trained on: user-oriented, user-oriented + tool execution"
    for other in ((), ("task_oriented", "user_oriented"), ("apigen",), ("apigen", "user_oriented_exec")):
        assert pipeline_of(other) is None
    assert pipeline_of(("user_oriented_exec",)) == pipeline_of(("user_oriented", "user_oriented_tau2")) == rows[-1][0]


def test_two_harnesses_do_not_share_a_table(tmp_path: Path) -> None:
    runs = [
        evaluation(tmp_path, [trial("tau2", "retail", 1, 0, True, harness=harness)], trials=number)
        for number, harness in enumerate(("tau2 official", "inspect"))
    ]
    with pytest.raises(UserError, match=r"cannot contain tau2 scored by 'tau2 official' .* and by 'inspect'"):
        tables(None, runs)


def test_only_scored_runs_with_a_manifest_count(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run: it has no manifest"):
        tables(tmp_path, ())
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(RecordError, match="is not a run manifest"):
        tables(None, (tmp_path,))
    with open_run(tmp_path, "evaluate", EVALUATION) as run:
        pass
    with pytest.raises(UserError, match="was not scored"):
        tables(None, (run.directory,))
    with pytest.raises(UserError, match=r"has no records.jsonl"):
        tables(None, (finished(tmp_path, "evaluate", EVALUATION | {"trials": 3}, {"models": []}),))
