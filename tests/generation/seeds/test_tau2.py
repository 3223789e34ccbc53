"""Seeds from τ²: the benchmark's interface, rows that belong together, and no entity that its tasks name."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import metadata
from typing import Any

import pytest
from inspect_evals.tau2.utils import TAU2_DATA_DIR

from core.schemas import schema_error
from core.settings import UserError
from generation.environments.tau2 import Tau2Environment, Tau2EnvironmentFactory
from generation.scripted.llm import ScriptedLLM
from generation.seeds.base import Seed
from generation.seeds.tau2 import Tau2Seeds
from generation.seeds.tau2_data import DOMAINS, database, reserved
from generation.tools.toolset import Toolset

ROWS = 12


@pytest.fixture(scope="module", params=["airline", "retail"])
def seed(request: pytest.FixtureRequest) -> Seed:
    return Tau2Seeds([request.param], ROWS).load()[0]


def open_environment(seed: Seed) -> Tau2Environment:
    toolset = Toolset(domain=seed.name, description=seed.description, tools=seed.tools, engine=seed.engine)
    return Tau2EnvironmentFactory().for_domain(toolset, ScriptedLLM(), "d0").open()


def test_each_domain_is_a_seed_of_the_package() -> None:
    seeds = Tau2Seeds(rows_per_kind=1).load()
    assert [(seed.name, seed.engine, seed.source, seed.held_out) for seed in seeds] == [
        ("tau2_airline", "tau2", "tau2", False),
        ("tau2_retail", "tau2", "tau2", False),
    ]
    airline, retail = seeds
    assert (airline.title, airline.now) == ("airline booking", "Wednesday 2024-05-15 15:00")
    assert (retail.title, retail.now) == ("online shop", "")
    assert {flight["date"][:7] for flight in airline.rows["flights"]} == {"2024-05"}, "the clock fits the data"
    assert {seed.licence for seed in seeds} == {metadata("inspect_evals")["License-Expression"]}


def test_the_tools_are_those_of_the_benchmarks_agent(seed: Seed) -> None:
    domain = seed.name.removeprefix("tau2_")
    made = getattr(import_module(f"inspect_evals.tau2.{domain}.tools"), f"all_{domain}_tools")
    official = {make.__name__: make() for make in made}
    assert set(official) - {tool.name for tool in seed.tools} == {"calculate", "transfer_to_human_agents"}
    for tool in seed.tools:
        signature = inspect.signature(official[tool.name])
        assert set(tool.parameters["properties"]) == set(tool.parameters["required"]) == set(signature.parameters)
        assert tool.parameters["additionalProperties"] is False
        documented = " ".join((inspect.getdoc(official[tool.name]) or "").split())
        assert documented.startswith(" ".join(tool.description.split()))
        for part in tool.parameters["properties"].values():
            assert " ".join(part["description"].split()) in documented


def read_calls(seed: Seed) -> list[tuple[str, dict[str, Any]]]:
    """Valid calls about the rows that change nothing."""
    calls: list[tuple[str, dict[str, Any]]] = [
        ("get_user_details", {"user_id": user["user_id"]}) for user in seed.rows["users"]
    ]
    if seed.name == "tau2_airline":
        calls += [("list_all_airports", {})]
        for row in seed.rows["flights"]:
            way = {name: row[name] for name in ("origin", "destination", "date")}
            calls += [("search_direct_flight", way), ("search_onestop_flight", way)]
            calls += [("get_flight_status", {name: row[name] for name in ("flight_number", "date")})]
        return calls + [
            ("get_reservation_details", {"reservation_id": row["reservation_id"]}) for row in seed.rows["reservations"]
        ]
    calls += [("list_all_product_types", {})]
    calls += [("find_user_id_by_email", {"email": user["email"]}) for user in seed.rows["users"]]
    calls += [("get_product_details", {"product_id": row["product_id"]}) for row in seed.rows["products"]]
    return calls + [("get_order_details", {"order_id": row["order_id"]}) for row in seed.rows["orders"]]


async def test_results_match_the_inferred_schemas(seed: Seed) -> None:
    environment = open_environment(seed)
    returns = {tool.name: tool.returns for tool in seed.tools}
    for name, arguments in read_calls(seed):
        value = (await environment.call(name, arguments)).value
        schema = returns[name]
        assert schema is not None
        assert schema_error(value, schema) is None
        assert "$ref" not in json.dumps(schema)
        record = value[0] if isinstance(value, list) and value else value
        if isinstance(record, dict) and "properties" in (part := schema.get("items", schema)):
            assert list(part["properties"]) == list(record)
            assert all(schema_error({k: v for k, v in record.items() if k != key}, part) for key in record)


async def test_results_of_changes_match_the_inferred_schemas() -> None:
    for seed in Tau2Seeds(rows_per_kind=1).load():
        environment, (user,) = open_environment(seed), seed.rows["users"]
        if seed.name == "tau2_airline":
            key = seed.rows["reservations"][0]["reservation_id"]
            name, arguments = "cancel_reservation", {"reservation_id": key}
        else:
            name, arguments = "modify_user_address", {"user_id": user["user_id"], **user["address"], "city": "Oslo"}
        value = (await environment.call(name, arguments)).value
        assert environment.state_diff()
        returns = next(tool.returns for tool in seed.tools if tool.name == name)
        assert schema_error(value, returns or {"not": {}}) is None


async def test_a_row_is_what_the_tools_show_and_row_i_is_about_one_customer(seed: Seed) -> None:
    environment = open_environment(seed)
    one, kind, offered = (
        ("reservation", "reservations", "flights") if seed.name == "tau2_airline" else ("order", "orders", "products")
    )
    assert {kind: len(rows) for kind, rows in seed.rows.items()} == {"users": ROWS, kind: ROWS, offered: ROWS}
    for user, record, offer in zip(*(seed.rows[name] for name in ("users", kind, offered)), strict=True):
        assert record["user_id"] == user["user_id"]
        assert record[f"{one}_id"] in user[kind]
        assert (await environment.call("get_user_details", {"user_id": user["user_id"]})).value == user
        assert (await environment.call(f"get_{one}_details", {f"{one}_id": record[f"{one}_id"]})).value == record
        if offered == "flights":
            way = {name: offer[name] for name in ("origin", "destination", "date")}
            assert any((leg["origin"], leg["destination"]) == tuple(way.values())[:2] for leg in record["flights"])
            found = (await environment.call("search_direct_flight", way)).value
            assert offer in [flight | {"date": offer["date"]} for flight in found]
        else:
            product = (await environment.call("get_product_details", {"product_id": offer["product_id"]})).value
            assert product["name"] == offer["name"]
            assert product["variants"][offer["item_id"]].items() <= offer.items()
            ordered = {item["item_id"] for item in record["items"] if item["product_id"] == offer["product_id"]}
            assert ordered - {offer["item_id"]}


def test_the_seed_decides_the_rows(seed: Seed) -> None:
    domain = seed.name.removeprefix("tau2_")
    assert Tau2Seeds([domain], ROWS).load() == (seed,)
    other = Tau2Seeds([domain], ROWS, seed=1).load()[0]
    assert other.rows != seed.rows
    assert other.tools == seed.tools


def test_all_customers_with_records_can_be_sampled() -> None:
    for seed in Tau2Seeds(rows_per_kind=10_000).load():
        domain = DOMAINS[seed.name.removeprefix("tau2_")]
        owners = {user.user_id for user in database(domain).users.values() if getattr(user, domain.records)}
        assert {user["user_id"] for user in seed.rows["users"]} == owners


def test_no_policy_of_the_benchmark_is_in_the_description(seed: Seed) -> None:
    folder = TAU2_DATA_DIR / "domains" / seed.name.removeprefix("tau2_")
    benchmark_text = (folder / "policy.txt").read_text(encoding="utf-8") + (folder / "tasks.json").read_text(
        encoding="utf-8"
    )
    words, benchmark_text = seed.description.casefold().split(), " ".join(benchmark_text.casefold().split())
    assert not [run for run in zip(*(words[i:] for i in range(6)), strict=False) if " ".join(run) in benchmark_text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set()),
        ("Your user id is ADA_LO_1.", {"ada_lo_1"}),
        ("mail to bo.li@example.com", {"bo_li_2"}),
        ("I am Bo\n Li, and my order is late", {"bo_li_2"}),
        ("order W12 of someone", {"ada_lo_1"}),
        ("Ada and Li", set()),
    ],
)
def test_every_user_named_in_a_text_is_reserved(text: str, expected: set[str]) -> None:
    users = {
        "ada_lo_1": {"name": {"first_name": "Ada", "last_name": "Lo"}, "email": "ada@example.com"},
        "bo_li_2": {"name": {"first_name": "Bo", "last_name": "Li"}, "email": "bo.li@example.com"},
    }
    data = {"users": users, "orders": {"#W12": {"user_id": "ada_lo_1"}, "#W34": {"user_id": "bo_li_2"}}}
    assert reserved(data, "orders", text) == expected


def test_the_package_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, generation.seeds.tau2, generation.environments.tau2; print('inspect_ai' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ["telecom"]}, "names: 'telecom'.*airline, retail"),
        ({"names": "airline"}, r"names=\[airline\]"),
        ({"rows_per_kind": 0}, "rows_per_kind=0.*at least 1"),
        ({"rows_per_kind": "many"}, "rows_per_kind=many.*at least 1"),
    ],
)
def test_a_wrong_setting_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Tau2Seeds(**options).load()
