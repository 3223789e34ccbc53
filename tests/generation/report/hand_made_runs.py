"""Runs made by hand: their dialogues are written line by line, so that every number of a report is known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.dialogue import Check, Dialogue, PlannedCall, Rubric, StateProof, Task, Verdict
from core.journal import write_jsonl
from core.manifest import Manifest
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage
from core.policy import Policy, StaffRule
from generation.database.sql_tools import SqlTool
from generation.environments.sql import SqlDomainEnvironment
from generation.metrics.diversity import SaturationSettings
from generation.metrics.statistics import CostSettings, Statistics, StatisticsTally
from generation.outcomes import Outcome
from generation.runner import DeadLetter, Rejection
from generation.tools.toolset import Toolset
from tests.generation.helpers.pipeline_runs import quality_settings, user_settings
from tests.generation.helpers.shop_database import TOOLS, build

PIPELINE = "user_oriented_exec"
ASKED = 20


def manifest_of(status: str = "finished", *pipelines: str) -> Manifest:
    """The manifest of a run with simulated users."""
    rollout = {"rollout": {"user_simulator": True}}
    config = {
        "n": ASKED,
        "pipelines": dict.fromkeys(pipelines or (PIPELINE,), rollout),
        "user": user_settings().model_dump(mode="json"),
        "quality": quality_settings().model_dump(mode="json"),
        "costs": {"gpus": 0, "per_gpu_hour": 2.5},
        "saturation": {"growth": 0.2, "dialogues": 200},
    }
    fields = {"run_id": "r", "stage": "generate", "group": "r", "fingerprint": "f", "commit": "c", "dirty": False}
    empty: dict[str, Any] = {"packages": {}, "machine": {}, "inputs": {}, "started": "2026-01-01"}
    return Manifest.model_validate(fields | empty | {"status": status, "config": config})


def task_of(number: int = 0, **more: Any) -> Task:
    fields = {"task_id": f"t{number}", "goal": f"The user wants thing {number}.", "subgoals": (), "difficulty": "easy"}
    return Task.model_validate(fields | {"rubric": Rubric(criteria=())} | more)


def greeting(name: str) -> str:
    """The first message of a dialogue's user, without digits, which the user cannot know."""
    return f"Hello, {name.translate(str.maketrans('0123456789', 'abcdefghij'))} here, I would like some help please."


def small_dialogue(name: str, verdict: Verdict | None = None, **more: Any) -> Dialogue:
    """A user who greets, and is answered, for each task."""
    tasks: Sequence[Task] = more.pop("tasks", (task_of(),))
    said: list[Message] = [SystemMessage(content="You serve.")]
    for _ in tasks:
        said += [UserMessage(content=greeting(name)), AssistantMessage(content="Done.")]
    fields: dict[str, Any] = {"pipeline": PIPELINE, "domain": "shop", "tools": (), "messages": tuple(said)}
    starts = tuple(range(1, len(said), 2))
    return Dialogue(
        dialogue_id=name, verdict=verdict or Verdict(accepted=True), tasks=tuple(tasks), task_starts=starts,
        **(fields | more),
    )  # fmt: skip


def rejected(name: str, *reasons: str, blame: str = "agent", **more: Any) -> Outcome:
    verdict = Verdict.model_validate({"accepted": False, "reasons": reasons, "blame": blame})
    dialogue = small_dialogue(name, verdict, **more)
    return Outcome(dialogue_id=name, status="rejected", reasons=reasons, dialogue=dialogue)


def accepted(name: str, **more: Any) -> Outcome:
    return Outcome(dialogue_id=name, status="accepted", dialogue=small_dialogue(name, **more))


def failed(name: str, reason: str = "internal: KeyError: 'x'") -> Outcome:
    return Outcome(dialogue_id=name, status="failed", reasons=(reason,), trace="Traceback: …")


def statistics_of(outcomes: Sequence[Outcome]) -> Statistics:
    costs, saturation = CostSettings(gpus=0, per_gpu_hour=2.5), SaturationSettings(growth=0.2, dialogues=200)
    tally = StatisticsTally(PIPELINE, user_settings(), quality_settings(), costs, saturation)
    for outcome in outcomes:
        tally.add(outcome)
    return tally.result()


def finished_run(run: Path, outcomes: Sequence[Outcome], pipeline: str = PIPELINE) -> Path:
    """The files of a finished run with one pipeline."""
    directory = run / pipeline
    directory.mkdir(parents=True)
    write_manifest(run, manifest_of("finished", pipeline))
    write_jsonl(run / "toolsets.jsonl", [])
    write_jsonl(directory / "dialogues.jsonl", [o.dialogue for o in outcomes if o.status == "accepted" and o.dialogue])
    write_jsonl(directory / "rejected.jsonl", [_rejection(o) for o in outcomes if o.status == "rejected"])
    write_jsonl(directory / "dead_letters.jsonl", [_dead_letter(o) for o in outcomes if o.status == "failed"])
    statistics = statistics_of(outcomes).model_dump_json(exclude_none=True)
    (directory / "statistics.json").write_text(statistics)
    return run


def interrupted_run(run: Path, outcomes: Sequence[Outcome]) -> Path:
    """A run that was killed: a manifest and a journal."""
    (run / PIPELINE).mkdir(parents=True)
    write_manifest(run, manifest_of("running"))
    write_jsonl(run / "toolsets.jsonl", [])
    write_jsonl(run / PIPELINE / "journal.jsonl", outcomes)
    return run


def write_manifest(run: Path, manifest: Manifest) -> None:
    (run / "manifest.json").write_text(manifest.model_dump_json())


def _rejection(outcome: Outcome) -> Rejection:
    return Rejection(dialogue_id=outcome.dialogue_id, reasons=outcome.reasons, dialogue=outcome.dialogue)


def _dead_letter(outcome: Outcome) -> DeadLetter:
    fields = {"dialogue_id": outcome.dialogue_id, "reasons": outcome.reasons, "trace": outcome.trace}
    return DeadLetter(attempts=1, unanswered=False, dialogue=outcome.dialogue, **fields)


# A dialogue in the shop: two look-ups in message 2, a forbidden look-up in message 5, the gold call that changes the
# state in message 7, the value that has to be told in message 9.

SHOP_TOOLS: tuple[SqlTool, ...] = tuple(
    tool
    for tool in TOOLS
    if tool.spec.name in {"get_customer", "list_products", "list_visits", "update_city", "update_price"}
)
RULE = StaffRule(
    rule_id="private_visits", text="Only the office sees visits.", tools=("list_visits",), contact="555-0142"
)
SHOP_TASK = task_of(
    goal="The user wants to move customer 1 to Paris. They also want to know the price of the pen.",
    kind="evidence",
    difficulty="medium",
    gold_calls=(
        PlannedCall(tool="update_city", arguments={"customer_id": 1, "city": "Paris"}),
        PlannedCall(tool="list_products", arguments={}),
        PlannedCall(tool="update_price", arguments={"sku": "pen", "price": 2.0}),
    ),
    told_values=("1.5", "Oslo"),
    withheld=("Paris",),
    evidence={"lookups": 2, "rows": 3},
    mutates=True,
)
CHANGE = "UPDATE customers customer_id=1: city 'Rome' -> 'Paris'"


def shop_toolset(folder: Path) -> Toolset:
    database = build(folder / "shop.db")
    return Toolset(
        domain="shop",
        description="A shop.",
        tools=tuple(tool.spec for tool in SHOP_TOOLS),
        engine="sql",
        statements={tool.spec.name: tool.sql for tool in SHOP_TOOLS},
        database=database,
    )


def shop_dialogue(toolset: Toolset) -> Dialogue:
    """The results are the database's own."""
    assert toolset.database
    domain_environment = SqlDomainEnvironment("shop", toolset.database, SHOP_TOOLS)
    environment = domain_environment.open()
    initial = environment.state_hash()

    def calling(*calls: tuple[str, str, dict[str, Any]]) -> list[Message]:
        made = tuple(ToolCall.make(*call) for call in calls)
        results = [
            ToolMessage(tool_call_id=call_id, content=asyncio.run(environment.call(name, arguments)).content)
            for call_id, name, arguments in calls
        ]
        return [AssistantMessage(tool_calls=made, reasoning_content="I look."), *results]

    messages: list[Message] = [
        SystemMessage(content="You serve."),
        UserMessage(content="Hi, move customer 1 to Paris please. And what does the pen cost?"),
        *calling(("a", "get_customer", {"customer_id": 1}), ("b", "list_products", {})),
        *calling(("c", "list_visits", {})),
        *calling(("d", "update_city", {"customer_id": 1, "city": "Paris"})),
        AssistantMessage(content="Customer 1 lives in Paris now. The pen costs $1.50."),
        UserMessage(content="Thanks, goodbye."),
    ]
    proof = StateProof(initial_hash=initial, final_hash=environment.state_hash(), diff=environment.state_diff())
    domain_environment.close()
    reasons = ("told in task 0: never told: Oslo", "policy: list_visits (message 5) breaks private_visits")
    checks = (
        Check(name="finished", passed=True),
        Check(name="state of task 0", passed=True, task=0),
        Check(name="told in task 0", passed=False, task=0, detail="never told: Oslo"),
        Check(name="policy", passed=False, detail="list_visits (message 5) breaks private_visits"),
    )
    judgment = {
        "judgment": "valid",
        "reasoning": "All was done.",
        "bullets": [{"bullet": "It is polite.", "rubric_class": "NonCritical", "passed": False}],
        "votes": ["valid", "invalid", "valid"],
    }
    verdict = Verdict.model_validate(
        {"accepted": False, "reasons": reasons, "blame": "agent", "checks": checks, "judgments": [judgment]}
    )
    return Dialogue(
        dialogue_id=f"{PIPELINE}-0000003",
        pipeline=PIPELINE,
        domain="shop",
        tools=toolset.tools,
        messages=tuple(messages),
        tasks=(SHOP_TASK,),
        task_starts=(1,),
        policy=Policy(rules=(RULE,)),
        verdict=verdict,
        state=proof,
    )


def shop_run(run: Path) -> Path:
    """A finished run that rejected the shop's dialogue."""
    run.mkdir()
    toolset = shop_toolset(run)
    dialogue = shop_dialogue(toolset)
    assert dialogue.verdict
    outcome = Outcome(
        dialogue_id=dialogue.dialogue_id, status="rejected", reasons=dialogue.verdict.reasons, dialogue=dialogue
    )
    finished_run(run, [outcome])
    write_jsonl(run / "toolsets.jsonl", [toolset])
    return run


def edited(path: Path, number: int, **changes: Any) -> None:
    """Change fields of one line of a JSONL file."""
    lines = path.read_text().splitlines()
    lines[number] = json.dumps(json.loads(lines[number]) | changes)
    path.write_text("".join(f"{line}\n" for line in lines))
