"""Which ends of a dialogue say nothing about its agent."""

from __future__ import annotations

import pytest

from generation.validation.outcome import infrastructure_failure


@pytest.mark.parametrize(
    ("stop", "is_the_agents"),
    [
        ("complete", True),
        ("agent: no answer after 12 rounds of tool use", True),
        ("user: not done after 30 messages", True),
        ("user: nothing usable in 3 attempts", False),
        ("replay: the given calls do not return here what they returned there", False),
        ("task_writer: the given task does not hold: call 0 failed", False),
    ],
)
def test_only_the_agents_failures_count_against_it(stop: str, is_the_agents: bool) -> None:
    assert infrastructure_failure(stop) == (None if is_the_agents else stop)
