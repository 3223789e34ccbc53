"""What all tests share: no deadlines, and how they are dealt out to several processes."""

import pytest
from hypothesis import settings

# A deadline is a timed assertion: on a busy machine it fails what is right.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For pytest-xdist's --dist loadgroup: what starts engines or several processes is one group, so that only one of them runs
    at a time, and comes first, because it takes longest; every other file is a group, because its tests share fixtures."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        slow = item.get_closest_marker("slow") is not None
        item.add_marker(pytest.mark.xdist_group("slow" if slow else str(item.path)))
