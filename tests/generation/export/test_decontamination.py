"""Contamination planted from the benchmarks' own files, which these tests read without the code under test."""

from __future__ import annotations

import gzip
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import pytest

from core.dialogue import Dialogue
from core.messages import ToolSpec
from core.settings import UserError
from generation.export.benchmark_texts import (
    BenchmarkData,
    read_benchmarks,
    read_bfcl,
    read_tau2,
)
from generation.export.decontamination import Detector
from generation.seeds.tau2 import Tau2Seeds
from generation.seeds.tau2_data import DOMAINS, database
from tests.generation.helpers.export_dialogues import PROVENANCE, contamination_settings, dialogue
from tests.helpers.paths import ROOT

BFCL = next(ROOT.glob(".venv-bfcl/lib/python3*/site-packages/bfcl_eval/data"), None)
_PACKAGE = find_spec("inspect_evals")
TAU2 = Path(_PACKAGE.origin).parent / "tau2" / "data" / "domains" if _PACKAGE and _PACKAGE.origin else None
needs_bfcl = pytest.mark.skipif(BFCL is None, reason="BFCL's environment is not built (make setup)")
needs_tau2 = pytest.mark.skipif(TAU2 is None, reason="inspect-evals is not installed")


@cache
def benchmark(name: str) -> BenchmarkData:
    return read_bfcl(ROOT / ".venv-bfcl") if name == "bfcl" else read_tau2()


@cache
def strict(name: str) -> Detector:
    return Detector([benchmark(name)], contamination_settings(tools="drop", entities="drop", texts="drop"))


def first_hit(planted: Dialogue, name: str) -> dict[str, str]:
    """{kind: item} of the first hit in one dialogue."""
    removal = strict(name).removal(planted)
    return {removal.why: removal.detail} if removal else {}


def bfcl_lines(name: str) -> list[dict[str, Any]]:
    assert BFCL
    return [json.loads(line) for line in (BFCL / name).read_text(encoding="utf-8").splitlines() if line.strip()]


def tau2_file(name: str) -> Any:
    assert TAU2
    packed = TAU2 / f"{name}.gz"
    return json.loads(gzip.decompress(packed.read_bytes()) if packed.is_file() else (TAU2 / name).read_bytes())


def long_sentences(texts: list[str], count: int, seed: str) -> list[str]:
    """Texts of at least 20 plain words, on whose tokenization every definition of a word agrees."""
    plain = [
        text for text in texts if len(text.split()) >= 20 and all(w.strip(".,?!").isalpha() for w in text.split()[:20])
    ]
    return Random(seed).sample(sorted(set(plain)), count)


def bfcl_texts() -> list[str]:
    names = ("BFCL_v4_live_multiple.json", "BFCL_v4_multi_turn_miss_param.json", "BFCL_v4_web_search.json")
    lines = [line for name in (*names, "memory_prereq_conversation/memory_student.json") for line in bfcl_lines(name)]
    return long_sentences(
        [message["content"] for line in lines for turn in line["question"] for message in turn], 12, "bfcl"
    )


def tau2_texts() -> list[str]:
    tasks = [task for domain in ("airline", "retail", "telecom") for task in tau2_file(f"{domain}/tasks.json")]
    instructions = [text for task in tasks for text in task["user_scenario"]["instructions"].values() if text]
    return long_sentences(instructions, 8, "tau2")


@pytest.mark.parametrize("name", [pytest.param("bfcl", marks=needs_bfcl), pytest.param("tau2", marks=needs_tau2)])
def test_thirteen_words_in_a_row_are_found_and_twelve_are_not(name: str) -> None:
    for text in bfcl_texts() if name == "bfcl" else tau2_texts():
        thirteen = text.split()[3:16]
        shared = " ".join(word.strip(".,?!").casefold() for word in thirteen)
        planted = f"Hello. {' '.join(thirteen).upper()} -- and then more"
        for carrier in (dialogue("d", planted, "Sure."), dialogue("d", "Hi.", "Sure.", goals=[planted])):
            assert first_hit(carrier, name) == {"texts": shared}
        fewer = f"Hello. {' '.join(thirteen[:12])} zzz {' '.join(thirteen[1:])}"
        assert first_hit(dialogue("d", fewer, "Sure."), name) == {}
        # The assistant's messages state no task.
        assert first_hit(dialogue("d", "Hello.", planted), name) == {}


@needs_bfcl
def test_a_short_task_counts_if_it_is_the_entire_message() -> None:
    questions = [line["question"][0][0]["content"] for line in bfcl_lines("BFCL_v4_simple_python.json")]
    short = next(
        text for text in questions if len(text.split()) == 10 and all(w.strip("?.").isalpha() for w in text.split())
    )
    assert "texts" in first_hit(dialogue("d", short.lower(), "Sure."), "bfcl")
    assert first_hit(dialogue("d", f"{short} Please", "Sure."), "bfcl") == {}
    assert bfcl_lines("BFCL_v4_memory.json")[0]["question"][0][0]["content"] == "What is my first name?"
    assert first_hit(dialogue("d", "What is my first name?", "Ann."), "bfcl") == {}


def spec(name: str, parameters: list[str]) -> ToolSpec:
    properties = {parameter: {"type": "string"} for parameter in parameters}
    return ToolSpec(name=name, description="Imitation.", parameters={"type": "object", "properties": properties})


@needs_bfcl
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("BFCL_v4_live_multiple.json", "ChaDri.change_drink"),
        ("BFCL_v4_irrelevance.json", "determine_body_mass_index"),
        ("multi_turn_func_doc/gorilla_file_system.json", "mv"),
    ],
)
def test_tools_of_bfcl_match_by_name_and_parameters(file: str, name: str) -> None:
    tools = [tool for line in bfcl_lines(file) for tool in line.get("function", [line])]
    parameters = list(next(tool for tool in tools if tool["name"] == name)["parameters"]["properties"])
    same_name = name.replace(".", "_")
    for tool, same in (
        (spec(same_name, parameters[::-1]), True),
        (spec(same_name, [*parameters, "more"]), False),
        (spec(same_name, parameters[1:]), False),
        (spec(f"{same_name}s", parameters), False),
    ):
        assert first_hit(dialogue("d", "Hi.", "Hi.", tools=(tool,)), "bfcl") == ({"tools": tool.name} if same else {})


@needs_tau2
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("cancel_reservation", ["reservation_id"]),
        ("find_user_id_by_name_zip", ["zip", "first_name", "last_name"]),
        ("get_customer_by_phone", ["phone_number"]),
        ("toggle_airplane_mode", []),
    ],
)
def test_tau2_tools_of_agent_and_user_match(name: str, parameters: list[str]) -> None:
    same = dialogue("d", "Hi.", "Hi.", tools=(spec(name, parameters),))
    assert first_hit(same, "tau2") == {"tools": name}
    other = dialogue("d", "Hi.", "Hi.", tools=(spec(name, [*parameters, "note"]),))
    assert first_hit(other, "tau2") == {}


def named_by_tasks() -> list[str]:
    """Ids in the base tasks' own calls, and the addresses of those customers."""
    names = []
    for domain in ("airline", "retail"):
        data = tau2_file(f"{domain}/db.json")
        users, records = data["users"], data["reservations" if domain == "airline" else "orders"]
        tasks = tau2_file(f"{domain}/tasks.json")
        calls = [call["arguments"] for task in tasks for call in task["evaluation_criteria"]["actions"]]
        for key in ("user_id", "reservation_id", "order_id"):
            ids = sorted({call[key] for call in calls if call.get(key) in (users if key == "user_id" else records)})
            names += ids
            names += [users[user]["email"] for user in ids] if key == "user_id" else []
    return names


@needs_tau2
def test_entities_of_tau2_tasks_are_found_in_any_text() -> None:
    names = named_by_tasks()
    assert len(names) > 200
    detector = Detector([benchmark("tau2")], contamination_settings())
    for number, name in enumerate(names):
        carriers = [
            dialogue(f"{number}a", f"I am {name}.", "Hi."),
            dialogue(f"{number}b", "Hi.", f"It is “{name.upper()}”, sir."),
            dialogue(f"{number}c", "Hi.", "Ok.", goals=[f"Ask for ({name})"]),
            dialogue(f"{number}d", "Hi.", "Ok.", calls=[("find", {"hall": {"deep": [name]}}, "[]")]),
            dialogue(f"{number}e", "Hi.", "Ok.", calls=[("find", {}, json.dumps({"note": f"for:\n{name}\n"}))]),
        ]
        thought = carriers[-1].messages[2].model_copy(update={"reasoning_content": f"Was it {name}?"})
        carriers.append(dialogue(f"{number}f", "Hi.", "Ok.").model_copy(update={"messages": (thought,)}))
        for carrier in carriers:
            removal = detector.removal(carrier)
            assert removal is not None, (name, carrier.dialogue_id)
            assert (removal.why, removal.detail) == ("entities", name.removeprefix("#").casefold())
            assert removal.of.startswith("tau2: ")
    assert detector.report()["tau2"].kinds["entities"].dialogues == 6 * len(names)
    assert detector.removal(dialogue("x", f"I am not {names[0]}x, nor x{names[0]}.", "Hi.")) is None


@needs_tau2
def test_telecoms_only_customer_is_found_by_telephone_number() -> None:
    instructions = [json.dumps(task["user_scenario"]) for task in tau2_file("telecom/tasks.json")]
    numbers = {text.partition("phone number ")[2][:12] for text in instructions}
    assert numbers == {"555-123-2002"}
    assert first_hit(dialogue("d", "My number is 555-123-2002.", "Hi."), "tau2") == {"entities": "555-123-2002"}
    assert first_hit(dialogue("d", "My number is 555-123-2003. Line L1002.", "Hi."), "tau2") == {}


@needs_tau2
@pytest.mark.parametrize("name", ["airline", "retail"])
def test_customers_of_tau2_seeds_are_not_entities_of_the_benchmark(name: str) -> None:
    data = database(DOMAINS[name])
    in_seeds = {*data.users, *(user.email for user in data.users.values()), *getattr(data, DOMAINS[name].records)}
    in_benchmark = {entity.text for entity in benchmark("tau2").entities}
    assert len(in_seeds) > 800
    assert not in_seeds & in_benchmark


@needs_tau2
def test_dialogues_from_tau2_seeds_are_in_domain_and_checked_for_all_but_tools() -> None:
    (seed,) = Tau2Seeds(["retail"], 1).load()
    origin = PROVENANCE | {"source": seed.source}
    detector = Detector([benchmark("tau2")], contamination_settings(tools="drop"))
    order = tau2_file("retail/tasks.json")[1]["evaluation_criteria"]["actions"][1]["arguments"]["order_id"]
    assert detector.removal(dialogue("a", "Hi.", "Hi.", tools=seed.tools, provenance=origin)) is None
    assert detector.removal(dialogue("b", f"My order {order}", "Hi.", tools=seed.tools, provenance=origin)) is not None
    other = detector.removal(dialogue("c", "Hi.", "Hi.", tools=seed.tools))
    assert other is not None
    assert other.why == "tools"
    report = detector.report()["tau2"]
    assert report.in_domain == 2
    assert {kind: of_kind.dialogues for kind, of_kind in report.kinds.items()} == {
        "tools": 1,
        "entities": 1,
        "texts": 0,
        "policies": 0,
    }


@needs_tau2
def test_only_dialogues_from_tau2_seeds_may_carry_its_policy() -> None:
    (seed,) = Tau2Seeds(["retail"], 1).load()
    assert seed.policy is not None
    detector = Detector([benchmark("tau2")], contamination_settings())
    text = seed.policy.text[:600]
    own = PROVENANCE | {"source": seed.source}
    assert detector.removal(dialogue("a", "Hi.", text, tools=seed.tools, provenance=own)) is None
    copied = detector.removal(dialogue("b", "Hi.", text, tools=()))
    assert copied is not None
    assert (copied.why, copied.of) == ("policies", "tau2: retail policy")


def test_a_missing_benchmark_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"bfcl=.*make setup.*benchmarks=\[tau2\]"):
        read_benchmarks(("bfcl",), tmp_path)
    monkeypatch.setattr("generation.export.benchmark_texts.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"inspect-evals is not installed.*benchmarks=\[bfcl\]"):
        read_benchmarks(("tau2",), tmp_path)
    assert read_benchmarks((), tmp_path) == ()
