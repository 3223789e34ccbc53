"""The worked examples in the docstrings are true."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from generation.environments.simulated import known_records, ledger, records, tool_call


@pytest.mark.parametrize("module", [records, tool_call, known_records, ledger])
def test_docstring_examples_show_the_actual_results(module: ModuleType) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
