"""A browser for the tests of one file; without Chromium they are skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scripts.bench.browser import Browser, browsing, missing


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if lacking := missing():
        pytest.skip(lacking)
    with browsing(tmp_path_factory.mktemp("profile")) as started:
        yield started
