"""Many SQL environments at once: isolation, threads, closing, snapshots."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from generation.environments.sql import SqlDomainEnvironment, SqlEnvironment
from tests.generation.helpers.shop_database import STRING, TOOLS, build, call, tool
from tests.generation.helpers.sql_environments import (
    dump,
    reference,
)


def test_two_hundred_open_environments_do_not_see_each_other(domain_environment: SqlDomainEnvironment) -> None:
    async def work(environment: SqlEnvironment, number: int) -> str:
        for turn in range(5):
            await environment.call("update_city", {"customer_id": 1, "city": f"{number}/{turn}"})
            await asyncio.sleep(0)
        return str((await environment.call("get_customer", {"customer_id": 1})).value[0]["city"])

    async def work_everywhere() -> list[str]:
        return await asyncio.gather(*(work(environment, n) for n, environment in enumerate(opened)))

    opened = [domain_environment.open() for _ in range(200)]
    assert asyncio.run(work_everywhere()) == [f"{number}/4" for number in range(200)]
    assert len({environment.state_hash() for environment in opened}) == 200
    for environment in opened:
        environment.close()


def test_copies_are_reused(domain_environment: SqlDomainEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = [domain_environment.open() for _ in range(3)]
    for environment in opened:
        environment.close()
    monkeypatch.setattr("generation.environments.sql.Sandbox", None)  # making another copy would raise
    for _ in range(20):
        opened = [domain_environment.open() for _ in range(3)]
        for environment in opened:
            environment.close()


def test_a_domain_environment_can_be_used_from_other_threads(domain_environment: SqlDomainEnvironment) -> None:
    def visit(number: int) -> str:
        environment = domain_environment.open()
        call(environment, "update_city", customer_id=1, city=str(number))
        city = call(environment, "get_customer", customer_id=1).value[0]["city"]
        environment.close()
        return str(city)

    with ThreadPoolExecutor(max_workers=4) as pool:
        assert list(pool.map(visit, range(40))) == [str(number) for number in range(40)]


def test_closing_a_domain_closes_its_open_environments(tmp_path: Path) -> None:
    domain_environment = SqlDomainEnvironment("shop", build(tmp_path / "shop.sqlite"), TOOLS)
    environment = domain_environment.open()
    domain_environment.close()
    environment.close()
    with pytest.raises(AssertionError, match="closed"):
        domain_environment.open()


def test_a_snapshot_of_another_database_is_refused(domain_environment: SqlDomainEnvironment, tmp_path: Path) -> None:
    other = SqlDomainEnvironment(
        "other",
        build(tmp_path / "other.sqlite", "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT); "),
        (tool("create_thing", "INSERT INTO things (name) VALUES (:name)", name=STRING),),
    )
    foreign = other.open()
    call(foreign, "create_thing", name="x")
    for snapshot in (foreign.snapshot(), b"no changeset"):
        with pytest.raises(ValueError, match="does not fit this database"):
            domain_environment.open(snapshot)
    fresh = domain_environment.open()
    assert dump(fresh) == reference([])
    fresh.close()
    other.close()
