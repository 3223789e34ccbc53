"""The shop, read into memory."""

from __future__ import annotations

import pytest

from generation.database.image import Image
from tests.generation.helpers.shop_database import build


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return Image.read(build(tmp_path_factory.mktemp("shop") / "shop.sqlite"))
