"""The SQL environment, compared with Python's own sqlite3 running the same statements on the same database."""

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.environments.base import Environment
from generation.environments.sql import SqlDomainEnvironment, SqlEnvironment
from tests.generation.helpers.shop_database import STRING, TOOLS, build, call, tool
from tests.generation.helpers.sql_environments import (
    Step,
    dump,
    reference,
    steps,
)

EMPTY = sha256(b"").hexdigest()


many = settings(max_examples=100, deadline=None)


def run_calls(environment: Environment, steps: Sequence[Step]) -> list[str]:
    async def all_calls() -> list[str]:
        return [(await environment.call(name, arguments)).content for name, arguments in steps]

    return asyncio.run(all_calls())


def after_calls(domain_environment: SqlDomainEnvironment, steps: Sequence[Step]) -> SqlEnvironment:
    environment = domain_environment.open()
    run_calls(environment, steps)
    return environment


@given(steps=steps)
@many
def test_calls_have_the_same_effect_as_in_sqlite(domain_environment: SqlDomainEnvironment, steps: list[Step]) -> None:
    environment = after_calls(domain_environment, steps)
    assert dump(environment) == reference(steps)
    environment.close()


@given(first=steps, data=st.data())
@many
def test_hashes_are_equal_exactly_for_equal_contents(
    domain_environment: SqlDomainEnvironment, first: list[Step], data: st.DataObject
) -> None:
    second = data.draw(st.one_of(st.permutations(first), steps.map(lambda more: first + more)))
    one, other = after_calls(domain_environment, first), after_calls(domain_environment, second)
    assert (one.state_hash() == other.state_hash()) == (reference(first) == reference(second))
    assert (one.state_hash() == EMPTY) == (reference(first) == reference([]))
    one.close()
    other.close()


@given(before=steps, after=steps)
@many
def test_a_fork_has_the_same_state_and_future_and_is_isolated(
    domain_environment: SqlDomainEnvironment, before: list[Step], after: list[Step]
) -> None:
    origin = after_calls(domain_environment, before)
    reopened, fork = domain_environment.open(origin.snapshot()), origin.fork()
    assert fork.state_hash() == reopened.state_hash() == origin.state_hash()
    assert fork.state_diff() == origin.state_diff()
    then = origin.state_hash()
    answers = run_calls(fork, after)
    assert origin.state_hash() == then
    assert dump(origin) == reference(before)
    assert dump(fork) == reference(before + after)
    assert run_calls(reopened, after) == run_calls(origin, after) == answers
    assert origin.state_hash() == fork.state_hash()
    for environment in (origin, reopened, fork):
        environment.close()


@given(steps=steps)
@many
def test_reset_and_close_restore_the_initial_state(domain_environment: SqlDomainEnvironment, steps: list[Step]) -> None:
    environment = after_calls(domain_environment, steps)
    environment.reset()
    assert environment.state_hash() == EMPTY
    assert environment.snapshot() == b""
    run_calls(environment, steps)
    environment.close()
    again = domain_environment.open()
    assert dump(again) == reference([])
    again.close()


def test_undone_changes_do_not_count(domain_environment: SqlDomainEnvironment) -> None:
    environment = domain_environment.open()
    for city in ("Oslo", "Bern"):
        call(environment, "update_city", customer_id=1, city=city)
    created = call(environment, "create_customer", name="Di", city="Bern", email="di@x.org")
    call(environment, "create_visit", customer_id=2, page="new")
    assert environment.state_hash() != EMPTY
    call(environment, "update_city", customer_id=1, city="Rome")
    call(environment, "delete_customer", customer_id=created.value["customer_id"])
    call(environment, "delete_visits", page="new")
    assert environment.state_hash() == EMPTY
    assert environment.state_diff() == ()
    environment.close()


def test_the_diff_lists_what_changed(domain_environment: SqlDomainEnvironment) -> None:
    environment = domain_environment.open()
    call(environment, "update_city", customer_id=1, city="O'Hara")
    call(environment, "create_customer", name="Di", city="Bern", email="di@x.org")
    call(environment, "set_item", order_id=11, sku="ink", quantity=4)
    call(environment, "update_visits", customer_id=3, page="end")
    call(environment, "delete_customer", customer_id=2)
    assert environment.state_diff() == (
        "DELETE customers customer_id=2: name 'Bo', city 'Oslo', email 'bo@x.org'",
        "DELETE items order_id=11, sku='pen': quantity 5",
        "DELETE orders order_id=11: customer_id 2, day '2024-02-01'",
        "DELETE visits: customer_id 3, page NULL",
        "INSERT customers customer_id=4: name 'Di', city 'Bern', email 'di@x.org'",
        "INSERT visits: customer_id 3, page 'end'",
        "UPDATE customers customer_id=1: city 'Rome' -> 'O''Hara'",
    )
    environment.close()


def test_unique_values_can_be_swapped_in_a_fork(domain_environment: SqlDomainEnvironment) -> None:
    environment = domain_environment.open()
    for customer, email in ((1, "tmp"), (2, "ada@x.org"), (1, "bo@x.org")):
        assert not call(environment, "update_email", customer_id=customer, email=email).error
    fork = environment.fork()
    assert fork.state_hash() == environment.state_hash()
    assert call(fork, "get_customer", customer_id=1).value[0]["email"] == "bo@x.org"
    fork.close()
    environment.close()


def test_results_of_each_kind(domain_environment: SqlDomainEnvironment) -> None:
    environment = domain_environment.open()
    read = call(environment, "get_customer", customer_id=3)
    assert read.content == '[{"customer_id": 3, "name": "Cy", "city": null, "email": null}]'
    assert call(environment, "get_customer", customer_id=99).content == "[]"
    assert call(environment, "create_customer", name="Di", city="x", email="d").value == {
        "rows_affected": 1,
        "customer_id": 4,
    }
    assert call(environment, "set_item", order_id=11, sku="ink", quantity=4).value == {
        "rows_affected": 1,
        "order_id": 11,
        "sku": "ink",
    }
    assert call(environment, "create_visit", customer_id=1, page="x").value == {"rows_affected": 1}
    assert call(environment, "update_visits", customer_id=1, page="x").value == {"rows_affected": 3}
    assert call(environment, "delete_customer", customer_id=77).value == {"rows_affected": 0}
    environment.close()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "create_customer",
            {"name": "x", "city": "y", "email": "bo@x.org"},
            "UNIQUE constraint failed: customers.email",
        ),
        ("create_order", {"customer_id": 9, "day": "x"}, "FOREIGN KEY constraint failed"),
        ("update_price", {"sku": "pen", "price": -1}, "CHECK constraint failed: price > 0"),
        ("rename_product", {"sku": "pen", "new": "cup"}, "FOREIGN KEY constraint failed"),
        ("get_customer", {"customer_id": "3"}, "invalid arguments: customer_id: '3' is not of type 'integer'"),
        ("get_customer", {}, "invalid arguments: 'customer_id' is a required property"),
        ("get_customer", {"customer_id": 3, "id": 3}, "unknown argument 'id'; expected: customer_id"),
        ("update_price", {"sku": "pen", "price": float("nan")}, "invalid arguments: price: nan is not a finite number"),
        ("drop_everything", {}, "there is no tool 'drop_everything'; there are: create_customer,"),
    ],
)
def test_a_failed_call_says_why_and_changes_nothing(
    domain_environment: SqlDomainEnvironment, name: str, arguments: dict[str, Any], message: str
) -> None:
    environment = domain_environment.open()
    call(environment, "update_city", customer_id=1, city="Bern")
    before = environment.state_hash()
    result = call(environment, name, **arguments)
    assert result.error
    assert result.value["error"].startswith(message)
    assert environment.state_hash() == before
    assert call(environment, "get_customer", customer_id=1).value[0]["city"] == "Bern"
    environment.close()


def test_too_many_rows_are_an_error(tmp_path: Path) -> None:
    domain_environment = SqlDomainEnvironment("shop", build(tmp_path / "shop.sqlite"), TOOLS, row_cap=3)
    environment = domain_environment.open()
    assert len(call(environment, "list_customers").value) == 3
    assert call(environment, "list_visits").value == {
        "error": "more than 3 rows match, too many to show; ask for fewer"
    }
    domain_environment.close()


def test_typographic_arguments_are_read_as_typed(domain_environment: SqlDomainEnvironment) -> None:
    """Models write U+2011 for a hyphen. What is stored and found is what a keyboard would have given."""
    written, plain = domain_environment.open(), domain_environment.open()
    for environment, name, city in (
        (written, "Kai\u2011Uwe", "L\u2019Aquila\u00a0Est"),
        (plain, "Kai-Uwe", "L'Aquila Est"),
    ):
        call(environment, "create_customer", name=name, city=city, email="k@x.org")
    assert written.state_hash() == plain.state_hash()
    assert call(written, "get_customer", customer_id=4) == call(plain, "get_customer", customer_id=4)
    call(plain, "rename_product", sku="pad", new="pad-2")
    assert call(plain, "update_price", sku="pad\u20112", price=9.0).value == {"rows_affected": 1}
    for environment in (written, plain):
        environment.close()


def test_typographic_data_is_found_as_it_is_written(tmp_path: Path) -> None:
    script = "CREATE TABLE songs (song_id INTEGER PRIMARY KEY, title TEXT); INSERT INTO songs VALUES (1, 'Don\u2019t');"
    tools = (
        tool("search", "SELECT song_id FROM songs WHERE title = :title", title=STRING),
        tool("rename", "UPDATE songs SET title = :new WHERE title = :title", new=STRING, title=STRING),
    )
    songs = SqlDomainEnvironment("songs", build(tmp_path / "songs.sqlite", script), tools)
    environment, other = songs.open(), songs.open()
    assert call(environment, "search", title="Don\u2019t").value == [{"song_id": 1}]
    assert call(environment, "rename", title="Don\u2019t", new="Do \u2013 now").value == {"rows_affected": 1}
    call(other, "rename", title="Don\u2019t", new="Do - now")
    assert environment.state_hash() == other.state_hash() != EMPTY
    songs.close()
