"""Policies from a model's answers: valid rules add up, refused ones go back with the reason."""

from __future__ import annotations

import json
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from core.policy import Policy
from core.schemas import schema_error
from core.settings import UserError
from generation.llm.contexts import PolicyContext
from generation.llm.meter import Meter
from generation.policies.files import read_policies
from generation.policies.verification import Verifier
from generation.policies.writer import PolicySettings, write_policy
from generation.scripted.llm import ScriptedLLM
from generation.seeds.base import Seed
from generation.seeds.bundled import BundledSeeds
from generation.seeds.tau2_data import DOMAINS
from generation.seeds.tau2_policies import tau2_policy
from generation.stages import Policies
from generation.tools.answer_schemas import rules as rules_schema
from generation.tools.from_questions import ToolmakingSettings, make_tools
from generation.tools.toolset import Toolset
from tests.generation.helpers.lending_policy import POLICY
from tests.generation.helpers.pipeline_runs import ListedAnswers
from tests.generation.policies.test_problems import ARGUMENTS, IDENTITY, STATE, require
from tests.generation.policies.test_verification import TOOLSET

STATES = STATE | {"rule_id": "open_only"}
FINES = ARGUMENTS | {"rule_id": "fines"}
KNOWN = IDENTITY | {"rule_id": "known"}
USELESS = STATE | {"rule_id": "useless"} | require("loan_status", "is_not", "unheard of")
SETTINGS = PolicySettings(rules=6, attempts=3, file=None)


def answer(*rules: dict[str, Any]) -> str:
    return json.dumps(list(rules))


async def test_valid_rules_of_all_answers_add_up() -> None:
    llm = ListedAnswers([answer(STATES, USELESS), answer(FINES, FINES | {"rule_id": "same"}), answer(KNOWN), "[]"])
    toolset = await write_policy(TOOLSET, Meter(llm), SETTINGS)
    assert toolset.policy is not None
    assert [rule.rule_id for rule in toolset.policy.rules] == ["open_only", "fines", "known"]
    assert toolset.refused == (
        "policy: useless: it forbids none of 20 calls that were sampled from the data",
        "policy: same: it checks the same as another rule",
    )
    assert toolset.counts["rules"] == 3
    first, second, third, _ = (request.messages[0].content for request in llm.requests)
    assert "Write 6 rules" in first
    assert "- open_only: Only open loans." in second
    assert "- useless: it forbids none" in second
    assert "Write at most 5 further rules" in second
    assert "useless" not in third
    assert len({request.key for request in llm.requests}) == 4
    assert "policy" in (toolset.provenance.prompts or {})


async def test_an_answer_without_a_valid_rule_goes_back_with_the_complaint() -> None:
    llm = ListedAnswers([answer(USELESS), answer(STATES | {"tools": ["lend"]}), answer(FINES), "[]"])
    toolset = await write_policy(TOOLSET, Meter(llm), SETTINGS)
    assert toolset.policy is not None
    assert [rule.rule_id for rule in toolset.policy.rules] == ["fines"]
    assert "it forbids none of 20 calls" in llm.requests[1].messages[-1].content
    assert "there is no tool 'lend'" in llm.requests[2].messages[-1].content


async def test_without_a_valid_rule_the_domain_keeps_its_tools_and_says_why() -> None:
    toolset = await write_policy(TOOLSET, Meter(ListedAnswers(["I have no rules."] * 3)), SETTINGS)
    assert toolset.policy is None
    assert toolset.tools == TOOLSET.tools
    assert len(toolset.refused) == 1
    assert "policy: " in toolset.refused[0]


async def test_no_more_rules_than_wanted_and_one_rule_alone_is_read() -> None:
    settings = PolicySettings(rules=1, attempts=1, file=None)
    for text in (answer(STATES, FINES), json.dumps(STATES), f"Here:\n```json\n{json.dumps({'rules': [STATES]})}\n```"):
        toolset = await write_policy(TOOLSET, Meter(ListedAnswers([text])), settings)
        assert toolset.policy is not None
        assert [rule.rule_id for rule in toolset.policy.rules] == ["open_only"]


def test_the_grammar_admits_rules_of_every_form() -> None:
    raw = [rule.model_dump(mode="json", exclude_unset=True) for rule in POLICY.rules]
    assert {rule["form"] for rule in raw} == {"state", "arguments", "identity", "confirm", "staff"}
    schema = rules_schema(1, 20)
    assert schema_error(raw, schema) is None
    assert schema_error([raw[0] | {"form": "law"}], schema) is not None
    assert schema_error([{key: raw[0][key] for key in raw[0] if key != "look_up"}], schema) is not None
    nested = [rule.model_dump(mode="json", exclude_unset=True) for rule in tau2_policy(DOMAINS["airline"]).rules]
    assert schema_error(nested, schema) is None


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Seed, ...]:
    return BundledSeeds(tmp_path_factory.mktemp("bundled")).load()


async def test_the_stand_in_writes_valid_policies_for_all_bundled_domains(bundled: tuple[Seed, ...]) -> None:
    """With few and with many tools in turn."""
    forms: set[str] = set()
    for seed, most in zip(bundled, cycle((9, 20)), strict=False):
        settings = ToolmakingSettings(max_tools=most, batch=10, attempts=3, questions=0, expansion=0)
        toolset = await make_tools(seed, Meter(ScriptedLLM()), settings)
        written = await write_policy(toolset, Meter(ScriptedLLM()), SETTINGS)
        assert written.policy is not None, seed.name
        assert (3 if most > 9 else 2) <= len(written.policy.rules) <= 6, seed.name
        assert toolset.database is not None
        verifier = Verifier(toolset.tools, toolset.database, toolset.sql_tools, "")
        for rule in written.policy.rules:
            assert await verifier.refusal(rule) == "", (seed.name, rule.rule_id)
        verifier.close()
        forms |= {rule.form for rule in written.policy.rules}
    assert forms == {"state", "arguments", "identity", "confirm", "staff"}


async def test_the_stand_in_writes_rules_for_simulated_tools(bundled: tuple[Seed, ...]) -> None:
    settings = ToolmakingSettings(max_tools=20, batch=10, attempts=3, questions=0, expansion=0)
    toolset = await make_tools(bundled[0], Meter(ScriptedLLM()), settings)
    simulated = toolset.model_copy(update={"engine": None, "database": None})
    written = await write_policy(simulated, Meter(ScriptedLLM()), SETTINGS)
    assert written.policy is not None
    assert "state" not in {rule.form for rule in written.policy.rules}


FILE = """
library:
  rules:
    - form: state
      rule_id: open_only
      text: Due dates can be changed only while the book is out.
      tools: [update_loan_due_on]
      look_up: {tool: get_loan, arguments: {loan_id: "${loan_id}"}}
      require: [{field: loan_status, op: in, value: [on loan, overdue]}]
    - form: arguments
      rule_id: summer
      text: Nothing is lent beyond 2025-08-31.
      tools: [create_loan]
      require: [{field: due_on, op: before, value: 2025-09-01}]
"""


async def test_policies_are_given_as_yaml_or_json(tmp_path: Path) -> None:
    yaml_file, json_file = tmp_path / "policies.yaml", tmp_path / "policies.json"
    yaml_file.write_text(FILE, encoding="utf-8")
    policies = read_policies(yaml_file)
    json_file.write_text(json.dumps({"library": policies["library"].model_dump(mode="json")}), encoding="utf-8")
    assert read_policies(json_file) == policies
    stage = Policies(rules=6, attempts=3, file=yaml_file)
    toolset = await stage.toolset(TOOLSET, None, Meter(ListedAnswers([])))
    assert toolset.policy == policies["library"]
    assert [rule.rule_id for rule in policies["library"].rules] == ["open_only", "summer"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("library: {rules: [{form: law}]}", r"library\.rules\.0"),
        ("[1, 2]", "expected: JSON or YAML"),
        ("{", "cannot be read"),
        (FILE.replace("in, value", "within, value"), r"require\.0\.op"),
    ],
)
def test_files_that_are_no_policies(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "policies.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=problem):
        read_policies(file)
    with pytest.raises(UserError, match="cannot be read"):
        read_policies(tmp_path / "none.yaml")


async def test_a_given_policy_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "policies.yaml"
    file.write_text(FILE.replace("loan_status", "status"), encoding="utf-8")
    stage = Policies(rules=6, attempts=3, file=file)
    with pytest.raises(UserError, match="the rule open_only of library: get_loan returns no 'status'"):
        await stage.toolset(TOOLSET, None, Meter(ListedAnswers([])))
    own = TOOLSET.model_copy(update={"policy": Policy(text="Be kind.")})
    with pytest.raises(UserError, match="brings a policy of its own"):
        await stage.toolset(own, None, Meter(ListedAnswers([])))


async def test_a_domain_keeps_the_policy_that_it_brings_and_0_rules_ask_for_none() -> None:
    own = TOOLSET.model_copy(update={"policy": Policy(text="Be kind.")})
    stage = Policies(rules=6, attempts=3, file=None)
    assert await stage.toolset(own, None, Meter(ListedAnswers([]))) == own
    none = Policies(rules=0, attempts=3, file=None)
    assert await none.toolset(TOOLSET, None, Meter(ListedAnswers([]))) == TOOLSET


async def test_the_prompt_shows_tools_schema_data_and_the_forms_that_can_be_checked() -> None:
    llm = ListedAnswers(["[]"] * 3)
    await write_policy(TOOLSET, Meter(llm), SETTINGS)
    text = llm.requests[0].messages[0].content
    assert "CREATE TABLE loans" in text
    assert '"loan_status": ' in text
    assert "- create_loan:" in text
    assert '"state": "look_up"' in text
    simulated = TOOLSET.model_copy(update={"engine": None, "database": None, "statements": {}})
    llm = ListedAnswers(["[]"] * 3)
    await write_policy(simulated, Meter(llm), SETTINGS)
    assert "look_up" not in llm.requests[0].messages[0].content
    context = llm.requests[0].context
    assert isinstance(context, PolicyContext)
    assert not context.executable
    assert isinstance(simulated, Toolset)
