"""The shop's tools and the SQL environments that execute them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from generation.environments.sql import SqlDomainEnvironment, SqlEnvironmentFactory
from generation.tools.toolset import Toolset
from tests.generation.helpers.shop_database import TOOLS, build


@pytest.fixture(scope="module")
def toolset(tmp_path_factory: pytest.TempPathFactory) -> Toolset:
    path = build(tmp_path_factory.mktemp("shop") / "shop.sqlite")
    statements = {tool.spec.name: tool.sql for tool in TOOLS}
    return Toolset(
        domain="shop", description="", tools=tuple(t.spec for t in TOOLS), statements=statements, database=path
    )


@pytest.fixture(scope="module")
def sql() -> Iterator[SqlEnvironmentFactory]:
    environments = SqlEnvironmentFactory()
    yield environments
    environments.close()


@pytest.fixture(scope="module")
def domain_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlDomainEnvironment]:
    domain_environment = SqlDomainEnvironment("shop", build(tmp_path_factory.mktemp("shop") / "shop.sqlite"), TOOLS)
    yield domain_environment
    domain_environment.close()
