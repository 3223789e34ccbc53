"""τ² as an environment, compared with the benchmark's own tools, database hash and raw task files."""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.tool import ToolError
from inspect_ai.util import Store, store_as
from inspect_ai.util._store import init_subtask_store
from inspect_evals.tau2.utils import TAU2_DATA_DIR

from generation.environments.tau2 import Tau2DomainEnvironment
from generation.seeds.tau2_data import DOMAINS, database, tool_specs, toolkit
from tests.generation.helpers.tau2_official import PERSON, free_environment

RECORDS = {"airline": "reservations", "retail": "orders"}


# Positions of base tasks whose gold actions together use every changing tool.
SAMPLE = {
    "airline": (2, 7, 8, 12, 14, 17, 18, 21, 22, 23, 25, 27, 37, 40, 44),
    "retail": (0, 2, 3, 10, 16, 17, 22, 32, 33, 35, 40, 41, 54, 59, 86),
}


def raw_tasks(domain: str) -> str:
    return (TAU2_DATA_DIR / "domains" / domain / "tasks.json").read_text(encoding="utf-8")


@cache
def raw_database(domain: str) -> dict[str, dict[str, Any]]:
    """As the package ships it; must not be modified."""
    path = TAU2_DATA_DIR / "domains" / domain / "db.json.gz"
    content: dict[str, dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))
    return content


def official_database(domain: str, changes: dict[str, dict[str, Any]] | None = None) -> Any:
    """The package's own object, with some of its entities replaced or added."""
    model = getattr(import_module(f"inspect_evals.tau2.{domain}.data_model"), DOMAINS[domain].database)
    return model.model_validate(
        {kind: entities | (changes or {}).get(kind, {}) for kind, entities in raw_database(domain).items()}
    )


class Official:
    """The benchmark's tools, as its agent calls them, on the package's own store and database."""

    def __init__(self, domain: str) -> None:
        init_subtask_store(Store())
        module = import_module(f"inspect_evals.tau2.{domain}.{domain.title()}AgentTools")
        self.state: Any = store_as(getattr(module, f"{domain.title()}AgentTools"), f"{domain.title()}Tools")
        self.state.initialized = True
        self.state.db = official_database(domain)
        self._tools = import_module(f"inspect_evals.tau2.{domain}.tools")

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        try:
            return str(await getattr(self._tools, name)()(**arguments))
        except ToolError as error:
            return json.dumps({"error": error.message}, ensure_ascii=False)


def complete_domain(domain: str) -> Tau2DomainEnvironment:
    """Includes the entities that the benchmark's tasks name, which `Tau2EnvironmentFactory` leaves out."""
    of = DOMAINS[domain]
    return Tau2DomainEnvironment(of.seed, tool_specs(of), database(of, unfiltered=True), toolkit(of))


@pytest.mark.parametrize("domain", RECORDS)
async def test_gold_actions_give_the_benchmarks_results_and_database(domain: str) -> None:
    tasks = json.loads(raw_tasks(domain))
    domain_environment = complete_domain(domain)
    called = set()
    for position in SAMPLE[domain]:
        official, environment = Official(domain), domain_environment.open()
        for action in tasks[position]["evaluation_criteria"]["actions"]:
            if action["name"] in domain_environment.specs:
                called.add(action["name"])
                result = await environment.call(action["name"], action["arguments"])
                assert result.content == await official.call(action["name"], action["arguments"])
        changes = json.loads(environment.snapshot())["changes"]
        assert official_database(domain, changes).get_hash() == official.state.db.get_hash()
    changing = {name for name in domain_environment.specs if not name.startswith(("get_", "list_", "search_", "find_"))}
    assert changing <= called
    assert database(DOMAINS[domain], unfiltered=True).get_hash() == official_database(domain).get_hash(), (
        "shared data changed"
    )


@pytest.mark.parametrize(
    ("domain", "name", "arguments"),
    [
        ("airline", "get_user_details", {"user_id": "nobody_0000"}),
        ("airline", "get_flight_status", {"flight_number": "HAT001", "date": "2024-05-16"}),
        ("airline", "get_flight_status", {"flight_number": "HAT001", "date": "1999-01-01"}),
        ("airline", "search_onestop_flight", {"origin": "JFK", "destination": "SEA", "date": "2024-05-20"}),
        ("airline", "list_all_airports", {}),
        ("retail", "list_all_product_types", {}),
        ("retail", "find_user_id_by_email", {"email": "NOAH.brown7922@example.com"}),
        ("retail", "find_user_id_by_email", {"email": "unknown"}),
        ("retail", "get_order_details", {"order_id": "W0"}),
    ],
)
async def test_result_texts_match_the_benchmark(domain: str, name: str, arguments: dict[str, Any]) -> None:
    result = await complete_domain(domain).open().call(name, arguments)
    expected = await Official(domain).call(name, arguments)
    assert result.content == expected
    assert result.value == (json.loads(expected) if expected[0] in "[{" else expected)
    assert result.error == expected.startswith('{"error"')


@pytest.mark.parametrize("domain", RECORDS)
def test_reading_the_data_leaves_no_file_behind(domain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    database.__wrapped__(DOMAINS[domain])
    assert list(tmp_path.iterdir()) == []


def named_in_tasks(domain: str) -> tuple[set[str], set[str], set[str]]:
    """Users, records and e-mail addresses in the raw task file, found by pattern."""
    text = raw_tasks(domain)
    shape = r"\b[A-Z0-9]{6}\b" if domain == "airline" else r"#W\d{7}"
    users = {found.lower() for found in re.findall(r"(?i)[a-z]+_[a-z]+_\d{4}", text.replace("\\n", " "))}
    return users, set(re.findall(shape, text)), set(re.findall(r"[\w.]+@[\w.]+\w", text))


@pytest.mark.parametrize("domain", RECORDS)
async def test_nothing_that_a_task_names_can_be_reached(domain: str) -> None:
    users, records, _ = named_in_tasks(domain)
    raw, environment, whole = raw_database(domain), free_environment(domain), complete_domain(domain).open()
    users, records = users & set(raw["users"]), records & set(raw[RECORDS[domain]])
    assert (len(users), len(records)) >= (25, 50), "the shapes find what the tasks name"
    one = "reservation" if domain == "airline" else "order"
    calls = [("get_user_details", {"user_id": key}) for key in sorted(users)]
    calls += [(f"get_{one}_details", {f"{one}_id": key}) for key in sorted(records)]
    for name, arguments in calls:
        assert not (await whole.call(name, arguments)).error
        assert (await environment.call(name, arguments)).error


@pytest.mark.parametrize("domain", RECORDS)
def test_free_entities_are_not_in_the_tasks(domain: str) -> None:
    text, data, own = raw_tasks(domain).casefold(), database(DOMAINS[domain]), RECORDS[domain]
    assert len(data.users) > 400
    assert len(getattr(data, own)) > 700
    for user in data.users.values():
        for name in (user.user_id, user.email, f"{user.name.first_name} {user.name.last_name}"):
            assert name.casefold() not in text
    for key in getattr(data, own):
        assert key.strip("#").casefold() not in text


@pytest.mark.parametrize("domain", RECORDS)
def test_the_free_entities_form_a_complete_domain(domain: str) -> None:
    data, raw, own = database(DOMAINS[domain]), raw_database(domain), RECORDS[domain]
    records = getattr(data, own)
    assert {key for user in data.users.values() for key in getattr(user, own)} == set(records)
    assert all(key in getattr(data.users[record.user_id], own) for key, record in records.items())
    shared = "flights" if domain == "airline" else "products"
    assert set(getattr(data, shared)) == set(raw[shared])


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("calculate", {"expression": "1 + 1"}, "no tool"),
        ("initialize", {}, "no tool"),
        ("get_user_details", {}, "required"),
        ("get_user_details", {"user_id": 7}, "not of type"),
        ("get_user_details", {"user_id": "a", "verbose": True}, "verbose"),
        ("get_user_details", {"user_id": "\ud800"}, "not found"),
        ("send_certificate", {"user_id": "a", "amount": float("nan")}, "amount"),
        ("send_certificate", {"user_id": "a", "amount": True}, "amount"),
        ("update_reservation_passengers", {"reservation_id": "a", "passengers": [{"name": "x"}]}, "first_name"),
        ("update_reservation_passengers", {"reservation_id": "a", "passengers": [{}, PERSON]}, "first_name"),
        ("search_onestop_flight", {"origin": "JFK", "destination": "SEA", "date": ""}, None),
    ],
)
async def test_an_invalid_call_returns_an_error_and_changes_nothing(
    name: str, arguments: dict[str, Any], says: str
) -> None:
    environment = free_environment("airline")
    result = await environment.call(name, arguments)
    if says is None:
        assert result.value == []
        return
    assert result.error
    assert result.value == json.loads(result.content.encode())
    assert says in result.value["error"]
    assert environment.state_diff() == ()
