"""What all tests share: no deadlines, and how they are dealt out to several processes."""

import pytest
from hypothesis import settings

# A deadline is a timed assertion: on a busy machine it fails what is right.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start engines or several processes come first: they take longest, and with pytest-xdist the others fill in."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
