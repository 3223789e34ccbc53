"""Copied-on-read databases compared with the package's own: same rewards, same content, and equal hashes only for equal
content."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessageUser, ModelName
from inspect_ai.scorer import Target
from inspect_ai.solver import TaskState
from inspect_ai.tool import ToolError
from inspect_ai.util import Store
from inspect_ai.util._store import init_subtask_store
from inspect_evals.tau2.airline.AirlineAgentTools import AirlineAgentTools, get_airline_tools
from inspect_evals.tau2.airline.data_model import FlightDB
from inspect_evals.tau2.airline.scorer import airline_scorer
from inspect_evals.tau2.environment.db import DB
from inspect_evals.tau2.retail.data_model import RetailDB
from inspect_evals.tau2.retail.RetailAgentTools import RetailAgentTools
from inspect_evals.tau2.retail.scorer import retail_scorer
from inspect_evals.tau2.retail.tools import get_retail_tools
from inspect_evals.tau2.telecom.TelecomAgentTools import TelecomAgentTools
from inspect_evals.tau2.utils import TAU2_DATA_DIR, get_pydantic_hash

from evaluation.tau2.inspect_worker.databases import CopyOnReadDict, install_copy_on_read, read
from evaluation.tau2.tasks import tasks

Calls = list[dict[str, Any]]
KINDS: dict[str, Any] = {"airline": FlightDB, "retail": RetailDB}
TOOLKITS: dict[str, Any] = {"airline": AirlineAgentTools, "retail": RetailAgentTools}
STOCK_LOAD = DB.__dict__["load"]


@pytest.fixture
def copy_on_read() -> Iterator[None]:
    install_copy_on_read()
    yield
    DB.load = STOCK_LOAD


def path(domain: str) -> str:
    return str(TAU2_DATA_DIR / "domains" / domain / "db.json.gz")


def gold(domain: str, task: str) -> Calls:
    actions: Calls = tasks(domain)[task]["evaluation_criteria"]["actions"]
    return [action for action in actions if action["name"] not in ("calculate", "transfer_to_human_agents")]


def perform(calls: Calls, toolkit: Any) -> None:
    for call in calls:
        with suppress(ToolError):
            getattr(toolkit, call["name"])(**call["arguments"])


async def reward(domain: str, task: str, calls: Calls) -> bool:
    """Whether the package's complete scorer passes `calls`, run in a separate store."""
    init_subtask_store(Store())
    perform(calls, get_airline_tools() if domain == "airline" else get_retail_tools())
    communicated = " ".join(tasks(domain)[task]["evaluation_criteria"]["communicate_info"])
    state = TaskState(
        ModelName("none/none"),
        sample_id=task,
        epoch=1,
        input="",
        messages=[ChatMessageUser(content=communicated)],
        metadata={"instance": "x", "task": tasks(domain)[task]},
    )
    score = await (airline_scorer() if domain == "airline" else retail_scorer())(state, Target(""))
    return bool(score and score.value == "C")


def variants(calls: Calls) -> dict[str, Calls]:
    """Named trajectories: the gold one, without its last call, empty, and with the last call repeated."""
    return {
        "gold": calls,
        "without its end": calls[:-1],
        "nothing": [],
        "its end twice": [*calls, *calls[-1:]],
    }


@pytest.mark.parametrize(("domain", "task"), [("airline", "24"), ("retail", "35"), ("retail", "107")])
async def test_rewards_equal_those_of_the_stock_database(domain: str, task: str) -> None:
    ours, stock = {}, {}
    for name, calls in variants(gold(domain, task)).items():
        DB.load = STOCK_LOAD
        stock[name] = await reward(domain, task, calls)
        install_copy_on_read()
        ours[name] = await reward(domain, task, calls)
        DB.load = STOCK_LOAD
    assert ours == stock
    assert stock["gold"]
    assert not stock["nothing"]


@pytest.mark.usefixtures("copy_on_read")
@pytest.mark.parametrize("domain", KINDS)
async def test_all_gold_actions_are_rewarded_and_shared_entities_stay_unchanged(domain: str) -> None:
    shared = read(KINDS[domain], path(domain))
    before = get_pydantic_hash(shared)
    assert [task for task in tasks(domain) if not await reward(domain, task, gold(domain, task))] == []
    assert get_pydantic_hash(shared) == before


@pytest.mark.usefixtures("copy_on_read")
@pytest.mark.parametrize(("domain", "task"), [("airline", "14"), ("retail", "107")])
def test_content_and_results_equal_those_of_the_stock_database(domain: str, task: str) -> None:
    ours, stock = TOOLKITS[domain](store=Store(), instance="a"), TOOLKITS[domain](store=Store(), instance="b")
    ours.initialize()
    stock.initialized, stock.db = True, STOCK_LOAD.__func__(KINDS[domain], path(domain))
    for call in gold(domain, task):
        answers = [result(toolkit, call) for toolkit in (ours, stock)]
        assert answers[0] == answers[1]
    assert content(ours.db) == content(stock.db)
    assert set(ours.db.model_dump()) <= set(KINDS[domain].model_fields)
    assert len(json.dumps(ours.db.model_dump())) < len(json.dumps(stock.db.model_dump())) / 50


def result(toolkit: Any, call: dict[str, Any]) -> str:
    try:
        return str(getattr(toolkit, call["name"])(**call["arguments"]))
    except ToolError as error:
        return f"error: {error.message}"


def content(database: Any) -> dict[str, Any]:
    return {
        kind: {key: entity.model_dump() for key, entity in dict.items(getattr(database, kind))}
        for kind in KINDS["airline" if "flights" in type(database).model_fields else "retail"].model_fields
    }


@pytest.mark.usefixtures("copy_on_read")
@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda db: None, True),
        (lambda db: db.users["mia_li_3668"], True),
        (lambda db: db.users["mia_li_3668"].reservations.append("X"), False),
        (lambda db: db.users["mia_li_3668"].__setattr__("email", db.users["mia_li_3668"].email), True),
        (lambda db: db.reservations["4WQ150"].__setattr__("total_baggages", 3.0), False),
        (lambda db: db.reservations.__setitem__("NEW", db.reservations["4WQ150"]), False),
    ],
)
def test_hashes_are_equal_exactly_if_the_official_ones_are(change: Callable[[Any], None], same: bool) -> None:
    first, second = FlightDB.load(path("airline")), FlightDB.load(path("airline"))
    first.reservations["4WQ150"].total_baggages = second.reservations["4WQ150"].total_baggages = 3
    change(first)
    assert (first.get_hash() == second.get_hash()) is same
    assert (json.dumps(content(first), sort_keys=True) == json.dumps(content(second), sort_keys=True)) is same


@pytest.mark.usefixtures("copy_on_read")
def test_a_database_is_read_once_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    read.cache_clear()
    first, second = FlightDB.load(path("airline")), FlightDB.load(path("airline"))
    assert isinstance(first.flights, CopyOnReadDict)
    assert first.flights.shared is second.flights.shared
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("copy_on_read")
def test_telecom_databases_are_complete_copies() -> None:
    first, second = (TelecomAgentTools(store=Store(), instance=name) for name in "ab")
    first.initialize()
    second.initialize()
    first.db.customers[0].full_name = "Another Name"
    assert second.db.customers[0].full_name != "Another Name"
    assert first.db.get_hash() != second.db.get_hash()
