"""The support desks, and one run on them without mistakes."""

from __future__ import annotations

import pytest

from generation.pipeline import DomainTools
from tests.generation.helpers.pipeline_runs import FinishedRun
from tests.generation.helpers.support_desks import play, support_desks


@pytest.fixture(scope="package")
def desks(tmp_path_factory: pytest.TempPathFactory) -> tuple[DomainTools, ...]:
    return support_desks(tmp_path_factory.mktemp("desks"))


@pytest.fixture(scope="package")
def played(desks: tuple[DomainTools, ...], tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return play(desks, tmp_path_factory.mktemp("played"), n=16)
