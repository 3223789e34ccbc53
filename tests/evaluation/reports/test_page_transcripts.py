"""The trials of a run made by hand as transcripts: what is recorded of each benchmark, and text that is not exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.dialogue import Dialogue, PlannedCall, Rubric, StateProof, Task
from core.files import write_atomically
from core.journal import write_jsonl
from core.messages import AssistantMessage, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from core.page.contents import Transcript
from core.policy import ConfirmRule, Policy
from evaluation.heldout.run import dialogue_path
from evaluation.metrics.scores import RECORDS
from evaluation.reports.page_transcripts import transcripts
from evaluation.reports.transcript_text import read_transcript
from evaluation.transcripts import write_transcript
from evaluation.trials import TrialRecord
from tests.evaluation.helpers.finished_runs import EVALUATION, finished
from tests.evaluation.helpers.trials import trial


def spec(name: str) -> ToolSpec:
    parameters = {"type": "object", "properties": {"visit_id": {"type": "integer"}}}
    return ToolSpec(name=name, description=name, parameters=parameters)


DIALOGUE = Dialogue(
    dialogue_id="clinic-0001",
    pipeline="heldout",
    domain="clinic",
    tools=(spec("get_visit"), spec("cancel_visit")),
    messages=(
        SystemMessage(content="You help."),
        UserMessage(content="When is visit 7? Cancel it."),
        AssistantMessage(
            reasoning_content="I look it up.",
            tool_calls=(
                ToolCall.make("c1", "get_visit", {"visit_id": 7}),
                ToolCall.make("c2", "cancel_visit", {"visit_id": 7}),
            ),
        ),
        ToolMessage(tool_call_id="c1", content='[{"day": "2025-03-14"}]'),
        ToolMessage(tool_call_id="c2", content='{"rows_affected": 1}'),
        AssistantMessage(content="It was on March 14, 2025."),
        UserMessage(content="And visit 8?"),
        AssistantMessage(content="I do not know."),
    ),
    tasks=(
        Task(
            task_id="t0",
            goal="Know the day of visit 7 and cancel it.",
            subgoals=("know",),
            difficulty="easy",
            rubric=Rubric(criteria=("done",)),
            gold_calls=(
                PlannedCall(tool="get_visit", arguments={"visit_id": 7}),
                PlannedCall(tool="cancel_visit", arguments={"visit_id": 9}),
            ),
            told_values=("2025-03-14",),
        ),
        Task(
            task_id="t1",
            goal="Know the day of visit 8.",
            subgoals=("know",),
            difficulty="hard",
            rubric=Rubric(criteria=("done",)),
            gold_calls=(PlannedCall(tool="get_visit", arguments={"visit_id": 8}),),
            told_values=("2025-04-01",),
        ),
    ),
    task_starts=(1, 6),
    policy=Policy(rules=(ConfirmRule(rule_id="ask_first", text="Ask before you cancel.", tools=("cancel_visit",)),)),
    state=StateProof(initial_hash="a", final_hash="b", diff=("visits 7: cancelled",)),
)
NOTES = [
    "tasks_per_dialogue 2",
    "task 0 (easy): Know the day of visit 7 and cancel it.",
    "FAILED told in task 1: never told: 2025-04-01",
    "FAILED policy: cancel_visit (message 2) breaks ask_first",
]


def run_of(outputs: Path, records: list[TrialRecord]) -> Path:
    models = [{"label": name, "model": name, "mixture": {}} for name in dict.fromkeys(r.model for r in records)]
    return finished(outputs, "evaluate", {**EVALUATION, "ks": [1]}, {"models": models, "caveats": {}})


def with_records(run: Path, records: list[TrialRecord]) -> dict[str, Transcript]:
    write_jsonl(run / RECORDS, records)
    found = list(transcripts(run))
    by_key = {transcript.key: transcript for transcript in found}
    assert len(by_key) == len(found) == len(records)
    return by_key


def written(run: Path, record: TrialRecord, notes: list[str], messages: list[dict[str, Any]]) -> TrialRecord:
    """As the run's records.jsonl has it."""
    path = f"{record.model}/{record.benchmark}"
    transcript = write_transcript(run / path, record, notes, messages).transcript
    return record.model_copy(update={"transcript": f"{path}/{transcript}"})


def test_a_heldout_trial_shows_its_dialogue_and_what_its_tasks_met(tmp_path: Path) -> None:
    axes = {"varied": "", "databases": "unseen", "kind": "plain"}
    record = trial("heldout", "unseen", "clinic-0001", 0, False, blame="agent", blame_reason="it forgot", axes=axes)
    run = run_of(tmp_path, [record])
    write_jsonl(dialogue_path(run / "m" / "heldout", record), [DIALOGUE])
    record = written(run, record, NOTES, [])
    (found,) = with_records(run, [record]).values()
    assert (found.key, found.outcome, found.reason) == (
        "m/heldout/unseen/clinic-0001/0",
        "failed",
        "agent: it forgot",
    )
    assert found.facets == {
        "benchmark": ("heldout",),
        "category": ("unseen",),
        "model": ("m",),
        "outcome": ("failed",),
        "blame": ("agent",),
        "stop reason": ("stop",),
        "databases": ("unseen",),
        "kind": ("plain",),
    }
    first, second = found.tasks
    assert [expected.met_at for expected in first.gold_calls] == [2, None]  # it cancelled visit 7, not 9
    assert [(expected.text, expected.met_at) for expected in first.told_values] == [("2025-03-14", 5)]
    assert [expected.met_at for expected in (*second.gold_calls, *second.told_values)] == [None, None]
    assert [(c.name, c.passed, c.detail) for c in second.checks] == [
        ("told in task 1", False, "never told: 2025-04-01")
    ]
    assert [check.name for check in found.checks] == ["policy"]
    assert found.changes == ("visits 7: cancelled",)
    assert [message.index for message in found.messages] == [0, 1, 2, 5, 6, 7]
    calls = found.messages[2].calls
    assert [call.result for call in calls] == ['[{"day": "2025-03-14"}]', '{"rows_affected": 1}']
    assert [[mark.kind for mark in call.marks] for call in calls] == [["gold"], ["broken_rule"]]
    assert calls[1].marks[0].text == "ask_first: Ask before you cancel."
    assert found.messages[2].reasoning == "I look it up."
    assert [mark.kind for mark in found.messages[3].marks] == ["told"]


def test_trials_of_a_task_are_joined_over_models_and_trials(tmp_path: Path) -> None:
    records = [trial("tau2", "retail", task, n, True, model=m) for m in "ab" for task in (1, 2) for n in (0, 1)]
    found = with_records(run_of(tmp_path, records), records)
    assert len(found) == 8
    assert {transcript.same_task for transcript in found.values()} == {"tau2/retail/1", "tau2/retail/2"}
    assert found["b/tau2/retail/2/1"].same_task == "tau2/retail/2"
    assert all(t.outcome == "passed" and not t.messages and not t.text and not t.reason for t in found.values())


def test_only_chosen_trials_are_read(tmp_path: Path) -> None:
    records = [trial("tau2", "retail", task, 0, True) for task in (1, 2)]
    run = run_of(tmp_path, records)
    write_jsonl(run / RECORDS, records)
    assert [t.key for t in transcripts(run, {"m/tau2/retail/2/0"})] == ["m/tau2/retail/2/0"]


def test_an_infrastructure_error_is_an_error_with_its_reason(tmp_path: Path) -> None:
    record = trial("tau2", "retail", 1, 0, None, infrastructure_error="the server is down")
    (found,) = with_records(run_of(tmp_path, [record]), [record]).values()
    assert (found.outcome, found.reason) == ("error", "the server is down")
    assert found.facets["outcome"] == ("error",)


def test_bfcl_trials_show_the_recorded_conversation_also_of_passed_ones(tmp_path: Path) -> None:
    call = {"id": "x", "function": {"name": "add", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "user", "content": "Add 1."},
        {"role": "assistant", "content": None, "reasoning": "So.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "x", "content": "2"},
        {"role": "assistant", "content": "2"},
    ]
    passed = trial("bfcl", "multi_turn_base", "multi_turn_base_1", 1, True)
    failed = trial("bfcl", "multi_turn_base", "multi_turn_base_2", 1, False)
    run = run_of(tmp_path, [passed, failed])
    answers = [{"id": record.task_id, "result": "", "messages": messages} for record in (passed, failed)]
    results = run / "m" / "bfcl" / "trial-1" / "result" / "BFCL_v4_multi_turn_base_result.json"
    write_atomically(results, "".join(json.dumps(answer) + "\n" for answer in answers))
    failed = written(run, failed, ["refused: wrong", "Expected 3."], messages)
    found = with_records(run, [passed, failed])
    for transcript in found.values():
        assert [(m.index, m.role, m.content) for m in transcript.messages] == [
            (0, "user", "Add 1."),
            (1, "assistant", ""),
            (3, "assistant", "2"),
        ]
        assert transcript.messages[1].reasoning == "So."
        assert [(c.name, c.arguments, c.result) for c in transcript.messages[1].calls] == [("add", '{"a": 1}', "2")]
        assert transcript.text == ""
    reasons = [transcript.reason for transcript in found.values()]
    assert reasons == ["", "benchmark's check: refused: wrong"]
    (check,) = found["m/bfcl/multi_turn_base/multi_turn_base_2/1"].checks
    assert check.detail == "refused: wrong\nExpected 3."


def test_a_passed_trial_of_tau2_shows_the_dialogue_that_inspect_recorded(tmp_path: Path) -> None:
    record = trial("tau2", "telecom", 1, 0, True)
    run = run_of(tmp_path, [record])
    call = {"id": "u", "function": "toggle", "arguments": {"on": True}}
    line = {
        "trial": record.key,
        "trajectory": [
            {"role": "assistant", "message": {"role": "assistant", "content": "Please restart."}},
            {"role": "user", "message": {"role": "assistant", "content": "", "tool_calls": [call]}},
            {"role": "user", "message": {"role": "tool", "tool_call_id": "u", "content": "restarted"}},
            {"role": "user", "message": {"role": "assistant", "content": "Done."}},
        ],
    }
    write_atomically(run / "m" / "tau2" / "dialogues.jsonl", json.dumps(line) + "\n")
    (found,) = with_records(run, [record]).values()
    assert [(m.role, m.content) for m in found.messages] == [
        ("assistant", "Please restart."),
        ("user", ""),
        ("user", "Done."),
    ]
    (used,) = found.messages[1].calls
    assert (used.name, used.arguments, used.result) == ("toggle", '{"on": true}', "restarted")


CHAT: list[dict[str, Any]] = [
    {"role": "user", "content": "Add 1.\n\nTwice."},
    {
        "role": "assistant",
        "content": "I add.",
        "tool_calls": [{"function": {"name": n, "arguments": '{"a": 1}'}} for n in ("add", "sum")],
    },
    {"role": "tool", "content": "2"},
    {"role": "tool of the user", "content": ""},
    {"role": "assistant", "reasoning_content": "Only thought.", "content": ""},
]


def test_a_text_that_is_exact_becomes_messages(tmp_path: Path) -> None:
    record = trial("other", "c", "t", 0, False)
    run = run_of(tmp_path, [record])
    (found,) = with_records(run, [written(run, record, ["failed: actions"], CHAT)]).values()
    assert [(m.index, m.role, m.content, m.reasoning) for m in found.messages] == [
        (0, "user", "Add 1.\n\nTwice.", ""),
        (1, "assistant", "I add.", ""),
        (4, "assistant", "", "Only thought."),
    ]
    assert [(c.name, c.arguments, c.result) for c in found.messages[1].calls] == [
        ("add", '{"a": 1}', "2"),
        ("sum", '{"a": 1}', ""),
    ]
    assert found.text == ""
    assert [(check.name, check.detail) for check in found.checks] == [("benchmark's check", "failed: actions")]


def test_a_text_that_can_be_read_in_two_ways_stays_text(tmp_path: Path) -> None:
    record = trial("other", "c", "t", 0, False)
    run = run_of(tmp_path, [record])
    unclear = [
        {"role": "assistant", "reasoning_content": "I think.", "content": "I say."},
        {"role": "assistant", "content": "-> f(1)\nis no call"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": "{\n}"}}]},
    ]
    for message in unclear:
        (found,) = with_records(run, [written(run, record, [], [CHAT[0], message])]).values()
        assert found.messages == ()
        assert found.text.endswith((run / "m/other/transcripts/c/t-0.txt").read_text())
        assert "FAILED" in found.text


def test_results_that_do_not_answer_the_calls_are_not_exact() -> None:
    head = "o · c · t · trial 0\nmodel m · FAILED · stop\nnote\n"
    call = "\n--- assistant\n-> f({})\n"
    assert read_transcript(f"{head}{call}").messages is not None  # the last calls may have no results
    assert read_transcript(f"{head}{call}\n--- user\nAnd?\n").messages is None
    assert read_transcript(f"{head}\n--- tool\n2\n").messages is None
    assert read_transcript(f"{head}{call}\n--- tool\n2\n\n--- tool\n3\n").messages is None
    assert read_transcript(head).notes == ("note",)
