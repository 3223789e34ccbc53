"""τ² as an environment, compared with the benchmark's own tools, database hash and raw task files."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inspect_ai.tool import ToolError
from inspect_ai.util import Store, store_as
from inspect_ai.util._store import init_subtask_store
from inspect_evals.tau2.utils import TAU2_DATA_DIR
from pydantic import BaseModel

from core.settings import UserError
from generation.environments.tau2 import Tau2DomainEnvironment, Tau2Environment, Tau2EnvironmentFactory
from generation.scripted.llm import ScriptedLLM
from generation.seeds.tau2_data import DOMAINS, database, tool_specs, toolkit
from generation.tools.toolset import Toolset

RECORDS = {"airline": "reservations", "retail": "orders"}
# Positions of base tasks whose gold actions together use every changing tool.
SAMPLE = {
    "airline": (2, 7, 8, 12, 14, 17, 18, 21, 22, 23, 25, 27, 37, 40, 44),
    "retail": (0, 2, 3, 10, 16, 17, 22, 32, 33, 35, 40, 41, 54, 59, 86),
}
ADDRESS = ("address1", "address2", "city", "state", "country", "zip")


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


def free_environment(domain: str) -> Tau2Environment:
    of = DOMAINS[domain]
    toolset = Toolset(domain=of.seed, description="", tools=tool_specs(of), engine="tau2")
    return Tau2EnvironmentFactory().for_domain(toolset, ScriptedLLM(), "d0").open()


def first_entity(domain: str, kind: str, **wanted: Any) -> dict[str, Any]:
    """A free entity whose fields have these values."""
    entities = getattr(database(DOMAINS[domain]), kind).values()
    found = next(e for e in entities if all(getattr(e, name) == value for name, value in wanted.items()))
    return dict(found.model_dump(mode="json"))


# The benchmark as reference


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


# Entities reserved for the benchmark


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


# States


async def readdress(environment: Tau2Environment, user_id: str, address: dict[str, Any]) -> None:
    arguments = {"user_id": user_id, **{name: address[name] for name in ADDRESS}}
    assert not (await environment.call("modify_user_address", arguments)).error


async def test_reading_changes_nothing() -> None:
    environment = free_environment("airline")
    initial = environment.state_hash()
    user = first_entity("airline", "users")
    await environment.call("get_user_details", {"user_id": user["user_id"]})
    await environment.call("search_direct_flight", {"origin": "JFK", "destination": "SEA", "date": "2024-05-20"})
    assert (environment.state_hash(), environment.state_diff()) == (initial, ())


async def test_the_hash_depends_on_the_state_and_not_on_the_path() -> None:
    one, other = free_environment("retail"), free_environment("retail")
    users = list(database(DOMAINS["retail"]).users.values())[:2]
    address = dict.fromkeys(ADDRESS, "x")
    for environment, order in ((one, users), (other, users[::-1])):
        for user in order:
            await readdress(environment, user.user_id, address)
    await readdress(other, users[0].user_id, address | {"city": "elsewhere"})
    assert one.state_hash() != other.state_hash()
    await readdress(other, users[0].user_id, address)
    assert one.state_hash() == other.state_hash() != free_environment("retail").state_hash()
    for user in users:
        await readdress(one, user.user_id, user.address.model_dump())
    assert one.state_hash() == free_environment("retail").state_hash()
    assert one.state_diff() == ()


async def test_the_order_of_added_cards_does_not_count() -> None:
    user_id, _ = card_holder()
    arguments = booking(user_id, "certificate_3221322")
    price = arguments["payment_methods"][0]["amount"]
    first_card, second_card = (("send_certificate", {"user_id": user_id, "amount": amount}) for amount in (price, 50))
    book = ("book_reservation", arguments)
    states = []
    for calls in ((first_card, book, first_card, second_card), (first_card, second_card, book, first_card)):
        environment = free_environment("airline")
        assert not any([(await environment.call(*call)).error for call in calls])
        states.append(environment)
    one, other = states
    shown = [(await state.call("get_user_details", {"user_id": user_id})).content for state in states]
    assert shown[0] != shown[1], "the benchmark shows them in that order"
    assert (one.state_hash(), one.state_diff()) == (other.state_hash(), other.state_diff())
    for state, text in zip(states, shown, strict=True):
        fork = state._domain_environment.open(state.snapshot())
        assert (await fork.call("get_user_details", {"user_id": user_id})).content == text


async def test_the_diff_has_one_line_per_changed_entity() -> None:
    environment = free_environment("retail")
    order = first_entity("retail", "orders", status="pending")
    paid = order["payment_history"][0]
    await environment.call("cancel_pending_order", {"order_id": order["order_id"], "reason": "no longer needed"})
    line = next(line for line in environment.state_diff() if " orders " in line)
    assert line == (
        f'UPDATE orders {order["order_id"]}: cancel_reason null -> "no longer needed", '
        f"payment_history[1].amount nothing -> {paid['amount']}, "
        f'payment_history[1].payment_method_id nothing -> "{paid["payment_method_id"]}", '
        'payment_history[1].transaction_type nothing -> "refund", status "pending" -> "cancelled"'
    )
    assert list(environment.state_diff()) == sorted(environment.state_diff())


def booking(user_id: str, card: str, seats: int = 1) -> dict[str, Any]:
    """Arguments of a booking of the first flight with seats on 20 May, paid with `card`."""
    flights = database(DOMAINS["airline"]).flights.values()
    flight = next(f for f in flights if f.dates["2024-05-20"].status == "available")
    price = flight.dates["2024-05-20"].prices["economy"]
    assert flight.dates["2024-05-20"].available_seats["economy"] >= seats
    return {
        "user_id": user_id,
        "origin": flight.origin,
        "destination": flight.destination,
        "flight_type": "one_way",
        "cabin": "economy",
        "flights": [{"flight_number": flight.flight_number, "date": "2024-05-20"}],
        "passengers": [{"first_name": "Ada", "last_name": f"No{seat}", "dob": "1990-01-01"} for seat in range(seats)],
        "payment_methods": [{"payment_id": card, "amount": price * seats}],
        "total_baggages": 0,
        "nonfree_baggages": 0,
        "insurance": "no",
    }


def card_holder() -> tuple[str, str]:
    """A free customer and the id of their credit card."""
    for user in database(DOMAINS["airline"]).users.values():
        for key, method in user.payment_methods.items():
            if method.source == "credit_card":
                return user.user_id, key
    raise AssertionError("no free customer has a credit card")


async def test_a_new_entity_is_in_the_diff_and_the_snapshot() -> None:
    environment = free_environment("airline")
    user_id, card = card_holder()
    arguments = booking(user_id, card)
    booked = await environment.call("book_reservation", arguments)
    assert booked.value["reservation_id"] == "HATHAT"
    kinds = [line.split(":")[0].rsplit(" ", 1)[0] for line in environment.state_diff()]
    assert kinds == ["INSERT reservations", "UPDATE flights", "UPDATE users"]
    again = await environment.call("get_reservation_details", {"reservation_id": "HATHAT"})
    assert again.content == booked.content


async def test_forks_are_independent() -> None:
    parent = free_environment("airline")
    user_id, card = card_holder()
    await parent.call("book_reservation", booking(user_id, card))
    before = parent.state_hash()
    left, right = parent.fork(), parent.fork()
    assert left.state_hash() == right.state_hash() == before
    await left.call("cancel_reservation", {"reservation_id": "HATHAT"})
    await right.call("update_reservation_passengers", {"reservation_id": "HATHAT", "passengers": [PERSON]})
    assert len({parent.state_hash(), left.state_hash(), right.state_hash()}) == 3
    assert (await parent.call("get_reservation_details", {"reservation_id": "HATHAT"})).value["status"] is None
    assert not any("HATHAT" in line for line in free_environment("airline").state_diff())
    assert (await free_environment("airline").call("get_reservation_details", {"reservation_id": "HATHAT"})).error
    left.reset()
    assert left.state_hash() == free_environment("airline").state_hash()
    assert parent.state_hash() == before


PERSON = {"first_name": "Bea", "last_name": "Lo", "dob": "1980-02-03"}


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every entity that is copied or built while the test runs."""
    made: list[Any] = []
    duplicate, build = BaseModel.model_copy, BaseModel.model_validate.__func__

    def counted(self: BaseModel, **options: Any) -> BaseModel:
        made.append(self)
        return duplicate(self, **options)

    def validated(cls: type[BaseModel], *values: Any, **options: Any) -> BaseModel:
        made.append(cls)
        return build(cls, *values, **options)

    monkeypatch.setattr(BaseModel, "model_copy", counted)
    monkeypatch.setattr(BaseModel, "model_validate", classmethod(validated))
    return made


async def test_forks_copy_nothing_and_a_call_copies_what_it_touches(copies: list[Any]) -> None:
    parent = free_environment("airline")
    user_id, card = card_holder()
    arguments = booking(user_id, card)
    await parent.call("book_reservation", arguments)
    del copies[:]
    forks = [parent.fork() for _ in range(1000)]
    hashes = {fork.state_hash() for fork in forks}
    assert (len(hashes), copies) == (1, [])
    await forks[0].call("cancel_reservation", {"reservation_id": "HATHAT"})
    assert len(copies) == 2, "one reservation, copied to work on and checked when changed"
    assert forks[0].state_hash() not in hashes


async def test_the_shared_database_survives_random_calls() -> None:
    data = database(DOMAINS["retail"])
    before = data.get_hash()
    for number in range(20):
        await random_calls(free_environment("retail"), Random(number), 10)
    assert data.get_hash() == before


async def random_calls(environment: Tau2Environment, rng: Random, steps: int) -> list[tuple[str, dict[str, Any], str]]:
    """Random calls about one customer, most of them valid; returns them with their results."""
    data = database(DOMAINS["retail"])
    user = rng.choice([user for user in data.users.values() if user.orders])
    made = []
    for _ in range(steps):
        name, arguments = _step(data, user, rng)
        made.append((name, arguments, (await environment.call(name, arguments)).content))
    return made


def _step(data: Any, user: Any, rng: Random) -> tuple[str, dict[str, Any]]:
    order = data.orders[rng.choice(user.orders)]
    item = rng.choice(order.items)
    own = {"order_id": order.order_id, "payment_method_id": rng.choice(sorted(user.payment_methods))}
    items = own | {"item_ids": [item.item_id]}
    other = rng.choice(sorted(data.products[item.product_id].variants))
    address = dict.fromkeys(ADDRESS, rng.choice("ab"))
    return rng.choice(
        [
            ("get_order_details", {"order_id": order.order_id}),
            ("cancel_pending_order", {"order_id": order.order_id, "reason": "ordered by mistake"}),
            ("return_delivered_order_items", items),
            ("exchange_delivered_order_items", items | {"new_item_ids": [other]}),
            ("modify_pending_order_items", items | {"new_item_ids": [other]}),
            ("modify_pending_order_payment", own),
            ("modify_pending_order_address", {"order_id": order.order_id, **address}),
            ("modify_user_address", {"user_id": user.user_id, **address}),
        ]
    )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), steps=st.integers(0, 12))
def test_a_snapshot_is_the_state(seed: int, steps: int) -> None:
    async def check() -> None:
        environment = free_environment("retail")
        made = await random_calls(environment, Random(seed), steps)
        opened = environment._domain_environment.open(environment.snapshot())
        assert opened.state_hash() == environment.state_hash()
        assert opened.state_diff() == environment.state_diff()
        assert opened.snapshot() == environment.snapshot()
        rng = Random(f"{seed}/more")
        assert await random_calls(opened, rng, 5) == await random_calls(environment.fork(), Random(f"{seed}/more"), 5)
        again = free_environment("retail")
        assert await again.retrace(made)
        assert again.state_hash() == environment.state_hash()

    asyncio.run(check())


async def test_retracing_detects_a_different_result() -> None:
    made = await random_calls(free_environment("retail"), Random(1), 4)
    name, arguments, content = made[-1]
    assert not await free_environment("retail").retrace([*made[:-1], (name, arguments, content + " ")])


def test_a_snapshot_of_another_domain_is_refused() -> None:
    with pytest.raises(ValueError, match="tau2_retail"):
        free_environment("retail")._domain_environment.open(free_environment("airline").snapshot())


# Invalid calls


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


async def test_a_call_that_fails_halfway_changes_nothing() -> None:
    """The official booking uses up a certificate before it notices that it pays twice with it."""
    environment = free_environment("airline")
    user_id, _ = card_holder()
    arguments = booking(user_id, "certificate_3221322", seats=2)
    total = arguments["payment_methods"][0]["amount"]
    assert not (await environment.call("send_certificate", {"user_id": user_id, "amount": total})).error
    before = environment.state_hash()
    halves = [{"payment_id": "certificate_3221322", "amount": total // 2}] * 2
    assert total % 2 == 0
    result = await environment.call("book_reservation", arguments | {"payment_methods": halves})
    assert "certificate_3221322" in result.value["error"]
    assert environment.state_hash() == before
    assert not (await environment.call("book_reservation", arguments)).error


@pytest.mark.parametrize("amount", [10**400, -(10**400)])
async def test_numbers_beyond_json_are_refused(amount: int) -> None:
    environment = free_environment("airline")
    result = await environment.call("send_certificate", {"user_id": card_holder()[0], "amount": amount})
    assert (result.error, environment.state_diff()) == (True, ())


async def test_an_integer_may_be_written_with_a_decimal_point() -> None:
    one, other = free_environment("airline"), free_environment("airline")
    user_id = card_holder()[0]
    results = [
        await environment.call("send_certificate", {"user_id": user_id, "amount": amount})
        for environment, amount in ((one, 100), (other, 100.0))
    ]
    assert results[0] == results[1]
    assert one.state_hash() == other.state_hash()


# The user's mistakes


@pytest.mark.parametrize(
    ("toolset", "says"),
    [
        ({"domain": "tau2_airline", "engine": "sql"}, "engine=sql"),
        ({"domain": "tau2_airlines", "engine": "tau2"}, "did you mean 'tau2_airline'"),
        ({"domain": "tau2_retail", "engine": "tau2", "tools": tool_specs(DOMAINS["airline"])[:1]}, "book_reservation"),
    ],
)
def test_a_toolset_of_another_domain_or_engine_is_refused(toolset: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Tau2EnvironmentFactory().for_domain(Toolset(description="", **toolset), ScriptedLLM(), "d0")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inspect_evals.tau2.utils", None)
    with pytest.raises(UserError, match=r"inspect_evals.*not installed.*\[eval\]"):
        database.__wrapped__(DOMAINS["retail"])
