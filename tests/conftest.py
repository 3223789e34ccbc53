"""Settings of all tests: no Hypothesis deadlines, one thread per process, what takes longest first."""

import os

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

# A deadline is a timed assertion: on a busy machine it fails correct code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Test processes and their children share the cores; two threads on a busy core wait for each other at every matmul.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ENGINES = (
    "tests/generation/llm/test_openai_vllm.py",
    "tests/generation/test_runner.py",
    "tests/scripts/test_ablation.py",
)
"""Files that start vLLM, Ray or whole trainings: side by side they take several times as long as one after another."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files that start engines or several processes first: they take longest; pytest-xdist fills in the others."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.nodeid.partition("::")[0] not in ENGINES, item.path not in slow))


class EnginesInTurn(LoadFileScheduling):
    """Runs each file in one process, and all files of ENGINES in the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "engines" if file in ENGINES else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> EnginesInTurn:
    return EnginesInTurn(config, log)
