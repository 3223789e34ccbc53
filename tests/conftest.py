"""What all tests share: no deadlines, one thread each, and how they are dealt out to several processes."""

import os

import pytest
from hypothesis import settings

# A deadline is a timed assertion: on a busy machine it fails what is right.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Processes of tests and of what they start share the cores; two threads on a busy core wait for each other at every product.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start engines or several processes come first: they take longest, and with pytest-xdist the others fill in."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
