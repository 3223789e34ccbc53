"""APIGen-MT-5k (Salesforce 2025): 5,000 dialogues in τ-bench's airline and retail domains, in ShareGPT's format."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from generation.convert.base import Row
from generation.seeds.rows import is_columnar, read_rows

HUB_ID = "Salesforce/APIGen-MT-5k"
LICENCE = "cc-by-nc-4.0"
_COLUMNS = ("conversations", "tools", "system")
_POLICY = re.compile(r"\s*#\s*(\w+)\s+agent\s+policy", re.I)


class ApigenDialogues:
    """`path` is the dataset on the hub (gated: accept its terms and log in first), a local copy (apigen-mt_5k.json) or
    a file of your own with the same columns: rows without one of APIGen's policies have no stated licence."""

    name = "apigen"

    def __init__(self, path: str | Path = HUB_ID, split: str = "train") -> None:
        self.path = path
        self.split = split

    def rows(self) -> Iterator[Row]:
        """Every row, in order. Rows have no ids; the key is the row number, from 0."""
        for number, row in enumerate(read_rows(self.path, self.split, _COLUMNS, HUB_ID)):
            policy = _POLICY.match(str(row["system"]))
            yield Row(
                columnar=is_columnar(self.path),
                conversation={"conversations": row["conversations"], "system": row["system"]},
                tools=row["tools"],
                key=f"{number:04}",
                licence=LICENCE if policy else "not stated",
                domain=f"apigen-{policy[1].lower()}" if policy else None,
            )
