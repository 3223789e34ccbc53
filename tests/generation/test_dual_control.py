"""Dialogues whose users have tools of their own: executed, proved, replayed, and blamed on the side that errs."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from core.dialogue import Dialogue
from core.dual_control import UserAction
from core.messages import AssistantMessage, ContractError, ToolCall
from core.policy import Policy, Workflow
from generation.environments.sql import SqlDomainEnvironment, SqlEnvironmentFactory
from generation.llm.base import Completion, Request
from generation.llm.contexts import AgentContext, UserContext
from generation.llm.meter import Meter
from generation.pipeline import DomainTools
from generation.policies.workflows import WorkflowError, walk
from generation.run import domains as domains_of
from generation.scripted.llm import ScriptedLLM
from generation.seeds.support_desk import DESKS, SupportDeskSeeds
from generation.stages import Tools
from generation.start_states.start_states import StartState
from generation.tasks.execution import Premises, ProofError
from generation.tasks.guided import prove_guided
from generation.toolset_runner import run_toolset_stages, source_from_seed
from generation.utterances.instructions import instructed, speaks_of
from generation.validation.validate import replay
from tests.generation.helpers.pipeline_runs import FinishedRun, run_to_end, start_states

NAME = "user_oriented_dual"
ROWS = 40


@pytest.fixture(scope="module")
def desks(tmp_path_factory: pytest.TempPathFactory) -> tuple[DomainTools, ...]:
    folder = tmp_path_factory.mktemp("desks")
    sources = [source_from_seed(seed) for seed in SupportDeskSeeds(folder).load()]
    stages = [Tools(max_tools=4, batch=4, attempts=1, questions=0, expansion=0)]
    toolsets = asyncio.run(
        run_toolset_stages(sources, stages, ScriptedLLM(), folder / "t.jsonl", 2, lambda toolset: None)
    )
    return domains_of(toolsets, ROWS, seed=0)


def play(desks: tuple[DomainTools, ...], folder: Path, llm: object = None, n: int = 8, **more: object) -> FinishedRun:
    return run_to_end(NAME, desks, folder, n, llm or ScriptedLLM(error_rate=0.0), kinds={"guided": 1.0}, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def played(desks: tuple[DomainTools, ...], tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return play(desks, tmp_path_factory.mktemp("played"), n=16)


# What a run makes.


def test_all_are_accepted_and_the_user_acts(played: FinishedRun) -> None:
    assert len(played.accepted) == 16, [rejection.reasons for rejection in played.rejected]
    assert {dialogue.domain for dialogue in played.accepted} == set(DESKS)
    for dialogue in played.accepted:
        dialogue.check()
        for number, task in enumerate(dialogue.tasks):
            gold = [(call.tool, call.arguments) for call in task.gold_calls if call.actor == "user"]
            assert [(action.tool, action.arguments) for action in dialogue.actions(number)] == gold
            assert gold


def test_the_agent_never_sees_what_the_user_does(played: FinishedRun) -> None:
    users = {tool.spec.name for desk in DESKS.values() for tool in desk.user_tools}
    seen = [request for request, _ in played.log if request.role == "agent"]
    assert seen
    for request in seen:
        assert not users & {tool.name for tool in request.tools}
        assert not any(name in message.content for name in users for message in request.messages)
    for dialogue in played.accepted:
        spoken = [message.content for message in dialogue.messages if message.role in ("user", "assistant")]
        assert not any(action.result in text for action in dialogue.user_actions for text in spoken)


def test_they_replay_and_a_changed_action_does_not(desks: tuple[DomainTools, ...], played: FinishedRun) -> None:
    toolsets = {desk.domain.name: desk.toolset for desk in desks}
    factory = SqlEnvironmentFactory()
    for dialogue in played.accepted[:6]:
        environment = factory.for_domain(toolsets[dialogue.domain], Meter(ScriptedLLM()), "d")
        replayed = asyncio.run(replay(dialogue, environment))
        assert (replayed.faithful, replayed.proof) == (True, dialogue.state)
        kept = [action for action in dialogue.user_actions if "rows_affected" not in action.result]
        without = dialogue.model_copy(update={"user_actions": tuple(kept)})
        replayed = asyncio.run(replay(without, environment))
        changed = len(kept) < len(dialogue.user_actions)
        assert (replayed.faithful and replayed.proof == dialogue.state) is not changed
    factory.close()


def test_the_same_seed_makes_the_same_dialogues(
    desks: tuple[DomainTools, ...], played: FinishedRun, tmp_path: Path
) -> None:
    again = play(desks, tmp_path, n=4, concurrency=1)
    assert [d.model_dump() for d in again.accepted] == [d.model_dump() for d in played.accepted[:4]]


@pytest.mark.parametrize("at", ["random", "end"])
def test_a_dialogue_continues_from_any_message(
    desks: tuple[DomainTools, ...], played: FinishedRun, tmp_path: Path, at: str
) -> None:
    starts = tuple(StartState(d.dialogue_id, d) for d in played.accepted[:4])
    run = play(desks, tmp_path, n=4, starts=start_states(starts, at=at))
    assert len(run.accepted) == 4, [rejection.reasons for rejection in run.rejected]
    for parent, child in zip(played.accepted, run.accepted, strict=False):
        kept = child.provenance.parent_messages or 0
        given = [action for action in parent.user_actions if action.message < kept]
        assert list(child.user_actions[: len(given)]) == given


# Sides that err.


@dataclass
class Spoiled:
    """The stand-in, but for what `spoil` answers itself; a request that it returns is the stand-in's instead."""

    spoil: Callable[[Request], AssistantMessage | Request | None]
    llm: ScriptedLLM = field(default_factory=lambda: ScriptedLLM(error_rate=0.0))
    name: str = "spoiled"

    async def complete(self, request: Request) -> Completion:
        answer = self.spoil(request)
        if isinstance(answer, AssistantMessage):
            return Completion(answer, model=self.name)
        return await self.llm.complete(answer or request)

    async def close(self) -> None: ...


def turn(message: str, **use: object) -> AssistantMessage:
    answer = {"user_message": message, "is_task_complete": False} | ({"use_tool": use} if use else {})
    return AssistantMessage(content=json.dumps(answer))


def claims_to_be_done(request: Request) -> AssistantMessage | None:
    is_agent = isinstance(request.context, AgentContext)
    return AssistantMessage(content="Done: it works again. Anything else?") if is_agent else None


def acts_without_instruction(request: Request) -> AssistantMessage | Request | None:
    """The user does something that the agent has not spoken of after its first answer, and then what it is told to."""
    context = request.context
    if not isinstance(context, UserContext):
        return None
    said = [m for m in context.transcript if isinstance(m, AssistantMessage) and m.content]
    if len(said) != 1:
        return None
    if context.actions:
        return replace(request, context=replace(context, actions=context.actions[1:]))
    subject = next(value for value in context.task.subject.values() if "-" in value)
    uses = [(tool, {next(iter(tool.parameters["properties"])): subject}) for tool in context.tools]
    tool, arguments = next(
        (tool, arguments)
        for tool, arguments in uses
        if not (tool.argument_error(arguments) or speaks_of(said[0].content, tool.name))
    )
    return turn("", tool=tool.name, arguments=arguments)


def only_claims_to_act(request: Request) -> AssistantMessage | None:
    """The user is told to do something and says that it did."""
    context = request.context
    if not isinstance(context, UserContext) or not context.transcript[context.task_start :]:
        return None
    latest = context.transcript[-1].content
    if not instructed(latest, [tool.model_dump() for tool in context.tools], context.task.goal):
        return None
    return turn(f"I have done number {len(context.transcript)} of what you said.")


def makes_its_own_calls_first(request: Request) -> AssistantMessage | None:
    """The agent does not wait for what the user would find."""
    context = request.context
    if not isinstance(context, AgentContext) or len(request.messages) - context.task_start != 1:
        return None
    calls = [call for call in context.task.gold_calls if call.actor == "agent"]
    made = [ToolCall.make(f"c{n}", call.tool, call.arguments) for n, call in enumerate(calls)]
    return AssistantMessage(tool_calls=tuple(made)) if made else None


def calls_the_users_tool(request: Request) -> AssistantMessage | None:
    context = request.context
    if not isinstance(context, AgentContext) or len(request.messages) - context.task_start != 1:
        return None
    gold = next(call for call in context.task.gold_calls if call.actor == "user")
    return AssistantMessage(tool_calls=(ToolCall.make("c", gold.tool, gold.arguments),))


@pytest.mark.parametrize(
    ("spoil", "blamed", "check"),
    [
        (claims_to_be_done, "agent", "procedure in task 0"),
        (acts_without_instruction, "user", "instructed in task 0"),
        (only_claims_to_act, "user", "procedure in task 0"),
        (makes_its_own_calls_first, "agent", "procedure in task 0"),
        (calls_the_users_tool, "agent", "contract"),
    ],
)
def test_who_errs_is_rejected_and_blamed(
    desks: tuple[DomainTools, ...],
    tmp_path: Path,
    spoil: Callable[[Request], AssistantMessage | Request | None],
    blamed: str,
    check: str,
) -> None:
    run = play(desks, tmp_path, Spoiled(spoil), n=6, count={1: 1.0}, invalid_calls="error")
    # Some procedures need no call of the agent, which then has none to make too early.
    assert len(run.rejected) >= 2 if spoil is makes_its_own_calls_first else not run.accepted
    for rejection in run.rejected:
        verdict = rejection.dialogue.verdict if rejection.dialogue else None
        assert verdict
        assert verdict.blame == blamed, verdict.reasons
        assert check in [each.name for each in verdict.checks if not each.passed], verdict.reasons


def test_what_the_agent_may_not_touch_stays_untouched(desks: tuple[DomainTools, ...], tmp_path: Path) -> None:
    run = play(desks, tmp_path, Spoiled(calls_the_users_tool), n=2, count={1: 1.0}, invalid_calls="error")
    for rejection in run.rejected:
        assert rejection.dialogue
        refusal = next(message for message in rejection.dialogue.messages if message.role == "tool")
        assert "there is no tool" in refusal.content


def test_an_unusable_use_of_a_tool_is_asked_again(desks: tuple[DomainTools, ...], tmp_path: Path) -> None:
    """A model as the user names a tool that it does not have, then leaves out an argument, then does it right."""
    wrong = iter([turn("", tool="fly", arguments={}), turn("", tool="check_hub_light", arguments={})])

    def spoil(request: Request) -> AssistantMessage | None:
        context = request.context
        is_told = isinstance(context, UserContext) and len(context.transcript) - context.task_start == 2
        return next(wrong, None) if is_told else None

    run = play(tuple(desk for desk in desks if desk.domain.name == "smart_home"), tmp_path, Spoiled(spoil), n=1)
    assert len(run.accepted) == 1, [rejection.reasons for rejection in run.rejected]
    prompts = [request.messages[-1].content for request, _ in run.log if request.role == "user"]
    assert any("you cannot use 'fly' now; you have check_hub_light" in prompt for prompt in prompts)
    assert any("arguments of check_hub_light do not fit" in prompt for prompt in prompts)
    first = next(request for request, _ in run.log if request.role == "user")
    assert "press_sensor_button" in first.messages[0].content
    assert first.json_schema
    assert "use_tool" not in json.dumps(first.json_schema) or "anyOf" in json.dumps(first.json_schema)


# The contract.


def test_actions_must_fit_their_dialogue(played: FinishedRun) -> None:
    dialogue = next(d for d in played.accepted if len(d.user_actions) > 1)
    first, *rest = dialogue.user_actions

    def with_actions(*actions: UserAction, **more: object) -> Dialogue:
        return dialogue.model_copy(update={"user_actions": actions, **more})

    wrong = {
        "not one of the user's tools": with_actions(first.model_copy(update={"tool": "fly"})),
        "do not fit": with_actions(first.model_copy(update={"arguments": {}})),
        "which is not a user message": with_actions(first.model_copy(update={"message": first.message + 1})),
        "from 9 on": with_actions(first.model_copy(update={"message": 9}), first),
        "tools of both": with_actions(first, *rest, user_tools=(*dialogue.user_tools, dialogue.tools[0])),
    }
    dialogue.check()
    for problem, broken in wrong.items():
        with pytest.raises(ContractError, match=problem if "from 9" not in problem else "which is not a user message"):
            broken.check()


def test_a_line_reads_back(played: FinishedRun) -> None:
    for dialogue in played.accepted:
        line = json.loads(dialogue.model_dump_json(exclude_none=True))
        assert isinstance(line["user_tools"], str)
        assert isinstance(line["user_actions"], str)
        assert Dialogue.model_validate(line) == dialogue


# Procedures.


@pytest.fixture(scope="module")
def smart_home(desks: tuple[DomainTools, ...]) -> Iterator[SqlDomainEnvironment]:
    toolset = next(desk.toolset for desk in desks if desk.domain.name == "smart_home")
    assert toolset.database
    environment = SqlDomainEnvironment("smart_home", toolset.database, toolset.sql_tools)
    yield environment
    environment.close()


def expected_steps(power: str, band: str, link: str) -> list[str]:
    """The procedure for a hub that is offline, by hand."""
    steps = ["check_hub_light"]
    if power == "off":
        steps += ["plug_in_hub", "check_hub_light"]
    if band == "5 GHz":
        steps.append("set_hub_wifi_band")
    steps.append("get_hub_account")
    if link == "unlinked":
        steps.append("relink_hub")
    return [*steps, "check_hub_light"]


def test_a_procedure_takes_the_steps_that_the_state_asks_for(
    desks: tuple[DomainTools, ...], smart_home: SqlDomainEnvironment
) -> None:
    toolset = next(desk.toolset for desk in desks if desk.domain.name == "smart_home")
    with closing(sqlite3.connect(f"file:{toolset.database}?mode=ro", uri=True)) as connection:
        hubs = connection.execute("SELECT hub_serial, power, wifi_band, cloud_link FROM hubs").fetchall()
    workflow = hub_offline(toolset.policy)
    environment = smart_home.open()
    paths = set()
    for serial, power, band, link in hubs:
        calls = asyncio.run(walk(workflow, {"hub_serial": serial}, environment))
        assert [call.tool for call in calls] == expected_steps(power, band, link)
        assert {call.arguments["serial"] for call in calls} == {serial}
        paths.add(tuple(call.tool for call in calls))
    assert len(paths) == 8
    assert environment.state_diff() == (), "it walks on a fork"
    with pytest.raises(WorkflowError, match="gives"):
        asyncio.run(walk(workflow, {"hub_serial": "HB-0000"}, environment))
    with pytest.raises(WorkflowError, match="hub_serial is not known"):
        asyncio.run(walk(workflow, {}, environment))
    environment.close()


def hub_offline(policy: Policy | None) -> Workflow:
    workflow = policy.workflow("hub_offline") if policy else None
    assert workflow
    return workflow


def test_a_task_is_proved_only_with_its_procedure(played: FinishedRun, smart_home: SqlDomainEnvironment) -> None:
    dialogue = next(d for d in played.accepted if d.domain == "smart_home")
    task, environment = dialogue.tasks[0], smart_home.open()
    premises = Premises(policy=dialogue.policy)
    assert asyncio.run(prove_guided(task, environment, premises)) == task
    with pytest.raises(ProofError, match="not what the procedure"):
        asyncio.run(prove_guided(task.model_copy(update={"plan": task.plan[1:]}), environment, premises))
    with pytest.raises(ProofError, match="has no procedure"):
        asyncio.run(prove_guided(task, environment, Premises(policy=Policy())))

    async def after() -> None:
        for call in task.gold_calls:
            await environment.call(call.tool, call.arguments)
        await prove_guided(task.model_copy(update={"plan": ()}), environment, premises)

    with pytest.raises(ProofError, match="there is no problem"):
        asyncio.run(after())
    environment.close()


def test_every_step_of_the_user_is_understood_as_its_tool() -> None:
    for desk in DESKS.values():
        specs = [tool.spec.model_dump() for tool in desk.user_tools]
        for workflow in desk.workflows:
            known = {"serial": "HB-1234 PT-1234", "label": "SN-123"}
            for step in workflow.steps:
                if step.actor == "agent":
                    assert step.tool in {tool.spec.name for tool in desk.tools}
                    continue
                order = f"Please {step.text.removeprefix('Have the user ')}"
                serial = (
                    known["label"]
                    if "label" in step.arguments
                    else known["serial"].split()[desk is DESKS["card_terminals"]]
                )
                fixed = {name: value for name, value in step.arguments.items() if not value.startswith("${")}
                (use,) = instructed(order, specs, f"It is {serial}.")
                variable = next(name for name in step.arguments if name not in fixed)
                assert (use.tool, use.arguments) == (step.tool, fixed | {variable: serial})
                assert speaks_of(order, step.tool)
