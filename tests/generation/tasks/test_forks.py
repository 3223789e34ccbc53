"""Executing a plan leaves no fork open, be the plan good or not."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from core.dialogue import PlannedCall
from generation.environments.sql import SqlDomainEnvironment, SqlEnvironment
from generation.tasks.proof import ProofError, execute
from tests.generation.helpers.shop_database import TOOLS, build


@pytest.mark.parametrize(("customer", "good"), [(1, True), (99, False)])
async def test_every_fork_is_closed(
    customer: int, good: bool, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = SqlDomainEnvironment("shop", build(tmp_path_factory.mktemp("shop") / "shop.sqlite"), TOOLS)
    environment, forks = shop.open(), list[SqlEnvironment]()

    def watched_fork() -> SqlEnvironment:
        forks.append(SqlEnvironment.fork(environment))
        return forks[-1]

    monkeypatch.setattr(environment, "fork", watched_fork)
    with nullcontext() if good else pytest.raises(ProofError, match="call 0"):
        await execute([PlannedCall(tool="get_customer", arguments={"customer_id": customer})], environment)
    (fork,) = forks
    with pytest.raises(AssertionError, match="the environment was closed"):
        fork.state_hash()
    shop.close()
