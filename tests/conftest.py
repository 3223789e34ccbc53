"""Settings of all tests: no Hypothesis deadlines, one thread per process, slow files first."""

import os

import pytest
from hypothesis import settings

# A deadline is a timed assertion: on a busy machine it fails correct code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Test processes and their children share the cores; two threads on a busy core wait for each other at every matmul.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files that start engines or several processes first: they take longest; pytest-xdist fills in the others."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
