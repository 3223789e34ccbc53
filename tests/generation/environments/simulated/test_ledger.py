"""The ledger's rules on worked examples, and many random dialogues against a checker that knows the domain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from core.messages import AssistantMessage, ToolSpec
from generation.environments.simulated.environment import SimulatedDomainEnvironment, SimulatedEnvironmentSettings
from generation.environments.simulated.ledger import Ledger
from generation.llm.base import Completion, Request
from generation.llm.contexts import ToolSimulatorContext
from generation.llm.meter import Meter
from generation.scripted import tool_simulator
from generation.specs.naming import entity_words, identifies

ANN = {"customer_id": 3, "name": "Ann", "city": "Rome", "points": 40, "status": "active"}
Step = tuple[str, dict[str, Any], Any]


def ledger(*steps: Step) -> Ledger:
    return Ledger((name, arguments, json.dumps(value)) for name, arguments, value in steps)


READ: Step = ("get_customer", {"customer_id": 3}, ANN)
ORDERS: Step = (
    "search_orders",
    {"customer_id": 3},
    [{"order_id": 7, "customer_id": 3, "total": 5.5, "note": "gift"}, {"order_id": 8, "customer_id": 3, "total": 9}],
)
NAMED: Step = ("get_order", {"order_id": 7}, {"order_id": 7, "customer_id": 3, "customer_name": "Ann"})
DELETED: Step = ("delete_order", {"order_id": 7}, {"success": True})


@pytest.mark.parametrize(
    ("tool", "about"),
    [
        ("get_customer_details", ("customer",)),
        ("list_film_copies_by_film_id", ("film", "copy")),
        ("searchAvailableRooms", ("available", "room")),
        ("add_item_to_cart", ("item",)),
        ("get_order_status", ("order",)),
        ("get_details", ()),
        ("checkout", ()),
    ],
)
def test_the_kind_of_record_in_a_tool_name(tool: str, about: tuple[str, ...]) -> None:
    assert entity_words(tool) == about


@pytest.mark.parametrize(
    ("field", "thing"),
    [
        ("id", ()),
        ("film_copy_id", ("film", "copy")),
        ("orderNumber", ("order",)),
        ("airport_code", ("airport",)),
        *((name, None) for name in ("email", "phone_number", "zip_code", "number", "name", "number_of_orders", "paid")),
    ],
)
def test_the_kind_of_record_a_field_identifies(field: str, thing: tuple[str, ...] | None) -> None:
    assert identifies(field) == thing


@pytest.mark.parametrize(
    ("history", "answer", "complaint"),
    [
        (
            [READ],
            ("get_customer", {"customer_id": 3}, ANN | {"city": "Oslo"}),
            'customer_id=3 has city "Rome", not "Oslo"',
        ),
        ([READ], ("search_customers", {"city": "Rome"}, [ANN, ANN | {"customer_id": 4, "name": "Bo"}]), None),
        ([READ], ("search_customers", {"name": "An"}, [ANN | {"name": "Al"}]), 'has name "Ann", not "Al"'),
        ([READ], ("get_customer", {"customer_id": 3}, {"id": 3, "name": "Al"}), 'has name "Ann", not "Al"'),
        ([READ], ("get_order", {"order_id": 7}, {"order_id": 7, "customer": {"id": 3, "name": "Al"}}), 'not "Al"'),
        ([READ], ("get_order", {"order_id": 7}, {"order_id": 7, "customer_id": 3, "status": "late"}), None),
        ([READ], ("get_order", {"order_id": 7}, {"order_id": 7, "customer_id": 3, "customer_name": "Al"}), 'not "Al"'),
        ([READ], ("get_order", {"order_id": 7}, {"order_id": 7, "customer_id": 4, "customer_name": "Al"}), None),
        ([NAMED], ("get_customer", {"customer_id": 3}, {"customer_id": 3, "name": "Al"}), 'has customer_name "Ann"'),
        ([READ], ("get_customer", {"customer_id": 3}, {"error": "customer not found"}), "customer_id=3 exists"),
        ([READ], ("get_customer", {"customer_id": 3}, {"error": "the service is busy"}), None),
        ([READ], ("get_customer", {"customer_id": 3}, ANN | {"city": None}), None),
        ([], ("get_customer", {"customer_id": 3}, ANN | {"customer_id": 4}), "customer_id=3 was requested"),
        ([], ("search_orders", {"customer_id": 4}, ORDERS[2]), "4 was requested"),
        ([], ("list_customers", {}, [ANN, {"order_id": 1, "customer": {"id": 3, "city": "Bonn"}}]), 'not "Bonn"'),
        ([ORDERS], ("search_orders", {"customer_id": 3}, ORDERS[2][:1]), "order_id=8 is missing from the list"),
        ([ORDERS], ("search_orders", {"customer_id": 3, "limit": 1}, ORDERS[2][:1]), None),
        ([ORDERS], ("search_orders", {"customer_id": 3, "day": "today"}, []), None),
        ([ORDERS, DELETED], ("search_orders", {"customer_id": 3}, ORDERS[2]), "order_id=7 does not exist"),
        ([ORDERS, DELETED], ("get_order", {"order_id": 7}, ORDERS[2][0]), "order_id=7 does not exist"),
        ([ORDERS, DELETED], ("get_order", {"order_id": 7}, {"error": "not found"}), None),
        ([ORDERS, DELETED], ("get_order", {"order_id": 7}, []), None),
        ([ORDERS, DELETED], ("get_order_items", {"order_id": 7}, {"order_id": 7, "items": []}), None),
        ([ORDERS, DELETED], ("update_order", {"order_id": 7, "note": "x"}, {"rows_affected": 1}), "must fail"),
        ([ORDERS, DELETED], ("update_order", {"order_id": 7, "note": "x"}, {"rows_affected": 0}), None),
        ([("get_order", {"order_id": 9}, [])], ("list_orders", {}, [{"order_id": 9}]), "order_id=9 does not exist"),
        ([ORDERS], ("create_order", {"customer_id": 3}, {"order_id": 8}), "order_id=8 exists already"),
    ],
)
def test_contradictions_with_earlier_answers(history: list[Step], answer: Step, complaint: str | None) -> None:
    found = ledger(*history).contradiction(*answer)
    assert (found is None) if complaint is None else (found and complaint in found)


UPDATE: Step = ("update_customer", {"customer_id": 3, "city": "Oslo"}, {"rows_affected": 1})


@pytest.mark.parametrize(
    ("change", "record", "expected_fields"),
    [
        # An update sets what it states and keeps other texts; points and status may follow from it.
        (UPDATE, "customer_id=3", {"name": "Ann", "city": "Oslo"}),
        (
            ("update_customer", {"customer_id": 3, "new_city": "Oslo"}, {}),
            "customer_id=3",
            {"name": "Ann", "city": "Oslo"},
        ),
        (
            ("update_customer", {"customer_id": 3, "updates": {"city": "Oslo"}}, {}),
            "customer_id=3",
            {"name": "Ann", "city": "Oslo"},
        ),
        (("change_city", {"customer_id": 3, "city": "Oslo"}, {}), "customer_id=3", {"name": "Ann", "city": "Oslo"}),
        # One that failed changes nothing.
        (("update_customer", {"customer_id": 3, "city": "Oslo"}, {"error": "no"}), "customer_id=3", ANN),
        (("update_customer", {"customer_id": 3, "city": "Oslo"}, {"rows_affected": 0}), "customer_id=3", ANN),
        (("update_customer", {"customer_id": 4, "city": "Oslo"}, {}), "customer_id=3", ANN),
        # Other changes keep names; what the answer states counts, except about the call itself.
        (("suspend_customer", {"customer_id": 3}, {"status": "ok"}), "customer_id=3", {"name": "Ann"}),
        (
            ("suspend_customer", {"customer_id": 3}, {"customer_id": 3, "status": "suspended", "message": "done"}),
            "customer_id=3",
            {"name": "Ann", "status": "suspended"},
        ),
        # A creation adds a record; the one it belongs to may have other numbers now.
        (
            ("create_order", {"customer_id": 3, "note": "red"}, {"order_id": 11, "total": 4, "status": "success"}),
            "order_id=11",
            {"customer_id": 3, "note": "red", "total": 4},
        ),
        (("create_order", {"customer_id": 3}, {"order_id": 11}), "customer_id=3", {"name": "Ann", "city": "Rome"}),
        (
            ("book_table", {"table_id": 2, "guests": 4}, {"booking_id": 5, "table_id": 2}),
            "booking_id=5",
            {"table_id": 2, "guests": 4},
        ),
        # An item of a cart is not the item of the catalogue.
        (("update_item_in_cart", {"cart_id": 1, "item_id": 2, "quantity": 9}, {"ok": True}), "item_id=2", None),
        (("remove_item_from_cart", {"cart_id": 1, "item_id": 2}, {"ok": True}), "item_id=2", None),
        # A change that names no record may concern all of its kind.
        (("archive_customers", {}, {"ok": True}), "customer_id=3", {"name": "Ann"}),
        (("archive_orders", {}, {"ok": True}), "customer_id=3", ANN),
        (("delete_customer", {"customer_id": 3}, {"rows_affected": 1}), "customer_id=3", {"exists": False}),
    ],
)
def test_what_remains_known_after_a_change(change: Step, record: str, expected_fields: dict[str, Any] | None) -> None:
    after = ledger(READ, change)
    expected = (
        {name: value for name, value in expected_fields.items() if name != "customer_id" or record != "customer_id=3"}
        if expected_fields
        else None
    )
    kind, _, number = record.partition("=")
    assert after.known_records(f"get_{kind.removesuffix('_id')}", {kind: int(number)}).get(record) == expected


def test_records_linked_to_a_changed_one_lose_what_may_follow_from_it() -> None:
    shown = {"order_id": 7, "customer_id": 3, "customer_name": "Ann", "note": "gift", "total": 5}
    other = {"order_id": 9, "customer_id": 4, "customer_name": "Bo", "total": 6}
    before = ledger(READ, ("list_orders", {}, [shown, other]))
    before.record("update_customer", {"customer_id": 3, "name": "Anna"}, "{}")
    known = before.known_records("list_orders", {})
    assert known == {
        "order_id=7": {"customer_id": 3, "note": "gift"},
        "order_id=9": {"customer_id": 4, "customer_name": "Bo", "total": 6},
    }


def test_what_belonged_to_a_deleted_record_is_forgotten_and_may_be_unlisted() -> None:
    after = ledger(READ, ORDERS, ("delete_customer", {"customer_id": 3}, {"success": True}))
    assert after.known_records("list_orders", {}) == {}
    assert after.contradiction("list_orders", {}, []) is None
    cancelled = ledger(ORDERS, ("cancel_order", {"order_id": 7}, {"success": True}))
    assert cancelled.contradiction("search_orders", {"customer_id": 3}, ORDERS[2][1:]) is None
    assert "order_id=8 is missing" in str(cancelled.contradiction("search_orders", {"customer_id": 3}, []))


@pytest.mark.parametrize(
    "steps",
    [
        # Other dates, other availability: what depends on a further argument says nothing about the room.
        [
            ("get_room", {"room_id": 1, "date": "monday"}, {"room_id": 1, "free": True}),
            ("get_room", {"room_id": 1, "date": "friday"}, {"room_id": 1, "free": False}),
        ],
        # Lines of two orders with the same product.
        [
            ("get_order", {"order_id": 1}, {"order_id": 1, "items": [{"product_id": 5, "quantity": 1}]}),
            ("get_order", {"order_id": 2}, {"order_id": 2, "items": [{"product_id": 5, "quantity": 8}]}),
        ],
        # Rows that repeat the identifier of what they belong to.
        [("get_account_payments", {"account_id": 1}, [{"account_id": 1, "sum": 5}, {"account_id": 1, "sum": 6}])],
        # The same number of different things.
        [
            ("get_order", {"order_id": 1}, {"order_id": 1, "total": 3}),
            ("get_bill", {"bill_id": 1}, {"bill_id": 1, "total": 4}),
        ],
        # The place in a ranking.
        [
            ("search_hotels", {"city": "Rome"}, [{"hotel_id": 1, "rank": 1}]),
            ("search_hotels", {"stars": 4}, [{"hotel_id": 1, "rank": 2}]),
        ],
        # After a bill is paid, the account that it names has another balance.
        [
            ("get_account", {"account_id": 1}, {"account_id": 1, "balance": 100}),
            ("get_bill", {"bill_id": 2}, {"bill_id": 2, "account_id": 1}),
            ("pay_bill", {"bill_id": 2}, {"success": True}),
            ("get_account", {"account_id": 1}, {"account_id": 1, "balance": 40}),
        ],
        # By another identifier of the same order.
        [
            ("get_order", {"order_id": 1}, {"order_id": 1, "order_number": "A-1", "note": "x"}),
            ("update_order", {"order_number": "A-1", "note": "y"}, {"success": True}),
            ("get_order", {"order_id": 1}, {"order_id": 1, "order_number": "A-1", "note": "y"}),
        ],
        # Deleted and restored.
        [
            ("delete_order", {"order_id": 1}, {"success": True}),
            ("restore_order", {"order_id": 1}, {"success": True}),
            ("get_order", {"order_id": 1}, {"order_id": 1, "note": "y"}),
        ],
        [("delete_order", {"order_id": 1}, {"order_id": 1, "deleted": True}), ("get_order", {"order_id": 1}, {})],
    ],
)
def test_answers_that_do_not_contradict_each_other(steps: list[Step]) -> None:
    book = Ledger()
    for name, arguments, value in steps:
        assert book.contradiction(name, arguments, value) is None
        book.record(name, arguments, json.dumps(value))


def test_a_repeated_reading_call_repeats_its_answer_until_a_change_may_concern_it() -> None:
    book = ledger(READ, ORDERS, ("get_shop", {"shop_id": 1}, {"shop_id": 1, "city": "Bonn"}))
    assert book.recorded_answer("get_customer", {"customer_id": 3}) == json.dumps(ANN)
    assert book.recorded_answer("get_customer", {"customer_id": 4}) is None
    book.record("update_customer", {"customer_id": 3, "city": "x"}, '{"error": "no"}')
    assert book.recorded_answer("get_customer", {"customer_id": 3}) is not None
    book.record("update_customer", {"customer_id": 3, "city": "x"}, "{}")
    assert book.recorded_answer("get_customer", {"customer_id": 3}) is None
    assert book.recorded_answer("search_orders", {"customer_id": 3}) is None, "it names the customer"
    assert book.recorded_answer("get_shop", {"shop_id": 1}) is not None, "another thing altogether"
    assert book.recorded_answer("update_customer", {"customer_id": 3, "city": "x"}) is None, (
        "a change is made each time"
    )
    book.record("get_customer", {"customer_id": 3}, json.dumps(ANN | {"city": "x"}))
    assert json.loads(book.recorded_answer("get_customer", {"customer_id": 3}) or "")["city"] == "x"


@pytest.mark.parametrize(
    ("why", "repeated"),
    [
        ("the service is busy, try again later", False),
        ("Request timed out", False),
        ("503 Service Unavailable", False),
        ("customer 3 not found", True),
        ("permission denied", True),
    ],
)
def test_a_transient_error_is_not_repeated(why: str, repeated: bool) -> None:
    """A user who retries can then be served."""
    failed: Step = ("get_customer", {"customer_id": 3}, {"error": why})
    book = ledger(failed)
    assert (book.recorded_answer(*failed[:2]) is not None) is repeated
    assert repeated or book.contradiction(*READ) is None


def test_answers_of_another_program_may_be_anything() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = {"id": 1, "w": [deep]}
    book = Ledger(
        [("get_x", {"id": 1}, "no JSON"), ("get_y", {}, "[1, null, [[]]]"), ("make_z", {"v": deep}, json.dumps(deep))]
    )
    assert book.recorded_answer("get_x", {"id": 1}) == "no JSON"


# Random dialogues.

INTEGER, STRING = {"type": "integer"}, {"type": "string"}


def tool(name: str, returns: dict[str, Any], **parameters: Any) -> ToolSpec:
    schema = {"type": "object", "properties": parameters, "required": [n for n in parameters if n.endswith("_id")]}
    return ToolSpec(name=name, description=name, parameters=schema, returns=returns)


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


CUSTOMER = an_object(customer_id=INTEGER, name=STRING, email=STRING, city=STRING)
ORDER = an_object(order_id=INTEGER, customer_id=INTEGER, total={"type": "number"}, status=STRING, note=STRING)
DONE = an_object(success={"const": True})
TOOLS = (
    tool("get_customer", CUSTOMER, customer_id=INTEGER),
    tool("list_customers", an_object(customers={"type": "array", "items": CUSTOMER})),
    tool("search_orders", {"type": "array", "items": ORDER}, customer_id=INTEGER),
    tool("get_order", ORDER, order_id=INTEGER),
    tool("create_order", an_object(order_id=INTEGER, total={"type": "number"}), customer_id=INTEGER, note=STRING),
    tool("update_customer", DONE, customer_id=INTEGER, city=STRING),
    tool("cancel_order", DONE, order_id=INTEGER),
    tool("delete_order", DONE, order_id=INTEGER),
)
READS = {"get_customer", "list_customers", "search_orders", "get_order"}


@dataclass
class StandIn:
    """The scripted tool simulator as a model."""

    error_rate: float = tool_simulator.ERROR_RATE
    name: str = "stand-in"

    async def complete(self, request: Request) -> Completion:
        assert isinstance(request.context, ToolSimulatorContext)
        text = tool_simulator.answer(request.context, Random(request.key), request.affinity, self.error_rate)
        return Completion(AssistantMessage(content=text))

    async def close(self) -> None: ...


async def dialogue(
    number: int, attempts: int, error_rate: float = tool_simulator.ERROR_RATE
) -> tuple[list[Step], Meter]:
    """Thirty calls about a few customers and orders, most of them known from earlier answers."""
    rng, meter = Random(f"calls {number}"), Meter(StandIn(error_rate))
    shop = SimulatedDomainEnvironment(
        "shop", TOOLS, meter, f"d{number}", SimulatedEnvironmentSettings(attempts=attempts)
    ).open()
    seen: dict[str, list[int]] = {"customer_id": [1, 2], "order_id": [3]}
    steps: list[Step] = []
    for _ in range(30):
        spec = rng.choice(TOOLS)
        arguments: dict[str, Any] = {}
        for name in spec.parameters["properties"]:
            arguments[name] = rng.choice(seen[name][-6:]) if name in seen else rng.choice(("Rome", "Oslo", "Bonn"))
        result = await shop.call(spec.name, arguments)
        assert json.loads(result.content) == result.value
        steps.append((spec.name, arguments, result.value))
        for record in rows(result.value):
            for name in seen.keys() & record.keys():
                seen[name].append(record[name])
    return steps, meter


def rows(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return list(value.get("customers", [value]))
    return list(value)


def violations(steps: list[Step]) -> Iterator[str]:
    """Contradictions that a reader who knows the shop would notice.

    Names, e-mail addresses and an order's customer and note never change, a city only by an update; without a change
    nothing changes; a deleted order does not exist, a new one is on its customer's list.
    """
    fixed: dict[tuple[Any, ...], Any] = {}
    since: dict[tuple[Any, ...], Any] = {}
    deleted: set[int] = set()
    expected: dict[int, int] = {}
    for name, arguments, value in steps:
        failed = isinstance(value, dict) and "error" in value
        if name not in READS:
            since = {}
        if failed or (name == "get_order" and arguments["order_id"] in deleted):
            if not failed:
                yield f"{arguments} was deleted"
            continue
        if name == "update_customer":
            fixed["city", arguments["customer_id"]] = arguments["city"]
        elif name in ("delete_order", "cancel_order"):
            expected.pop(arguments["order_id"], None)
            deleted |= {arguments["order_id"]} if name == "delete_order" else set()
        elif name == "create_order":
            made = value["order_id"]
            if ("customer_id of", made) in fixed and made not in deleted:
                yield f"{made} was there before"
            deleted.discard(made)
            for key in [key for key in fixed if key[1] == made and key[0] in ("customer_id of", "note")]:
                del fixed[key]
            fixed["customer_id of", made], fixed["note", made] = arguments["customer_id"], arguments["note"]
            expected[made] = arguments["customer_id"]
        else:
            if since.setdefault((name, json.dumps(arguments)), value) != value:
                yield f"{name} {arguments} changed by itself"
            yield from row_violations(value, fixed, since, deleted)
            if name == "search_orders" and len(value) < 10:
                listed = {row["order_id"] for row in value}
                yield from (
                    f"{o} left out" for o, c in expected.items() if c == arguments["customer_id"] and o not in listed
                )


def row_violations(value: Any, fixed: dict[Any, Any], since: dict[Any, Any], deleted: set[int]) -> Iterator[str]:
    for row in rows(value):
        order = row.get("order_id")
        if order in deleted:
            yield f"{order} was deleted"
        constant = (
            {"customer_id of": row["customer_id"], "note": row["note"]}
            if order
            else {k: row[k] for k in ("name", "email", "city")}
        )
        number = order or row["customer_id"]
        for field, given in constant.items():
            if not order and field != "city" and fixed.setdefault((field, "c", number), given) != given:
                yield f"{field} of customer {number}"
            if ((order and field != "note") or field == "city") and fixed.setdefault((field, number), given) != given:
                yield f"{field} of {number}"
        if since.setdefault((bool(order), number), row) != row:
            yield f"{row} changed by itself"


async def test_no_random_dialogue_contradicts_itself_and_every_slip_is_counted() -> None:
    found, caught = [], 0
    for number in range(60):
        steps, meter = await dialogue(number, attempts=12, error_rate=0.25)
        found += violations(steps)
        caught += meter.flaws["tool_simulator/contradiction"]
    assert found == []
    assert caught > 50


async def test_without_the_ledger_the_checker_finds_many_contradictions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "contradiction", lambda self, name, arguments, value: None)
    found = [
        problem
        for number in range(60)
        for problem in violations((await dialogue(number, attempts=1, error_rate=0.25))[0])
    ]
    assert len(found) > 150
    for what in ("left out", "was deleted", "city of", "name of", "changed by itself"):
        assert any(what in problem for problem in found), what


async def test_a_dialogue_is_the_same_every_time() -> None:
    assert (await dialogue(7, 4))[0] == (await dialogue(7, 4))[0] != (await dialogue(8, 4))[0]
