"""τ²'s tasks and splits from inspect-evals' data (official release of June 2025), read without its code."""

from __future__ import annotations

import gzip
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from core.settings import UserError, closest

DOMAINS = ("airline", "retail", "telecom")
Split = Literal["base", "train", "test"]


def split_tasks(domain: str, split: Split) -> tuple[str, ...]:
    """The task ids of a split in the official order. Scores are reported on base; train and test are its halves.

    Raises UserError for an unknown domain, and if inspect-evals is not installed.
    """
    if domain not in DOMAINS:
        raise UserError(f"unknown τ² domain {domain!r}; {closest(domain, list(DOMAINS))}")
    return tuple(map(str, json.loads((_data() / domain / "split_tasks.json").read_bytes())[split]))


@cache
def tasks(domain: str) -> dict[str, dict[str, Any]]:
    """The tasks of the base split by id, as in the official file."""
    path = _data() / domain / "tasks.json"
    raw = path.read_bytes() if path.is_file() else gzip.decompress(path.with_suffix(".json.gz").read_bytes())
    by_id = {str(task["id"]): task for task in json.loads(raw)}
    return {name: by_id[name] for name in split_tasks(domain, "base")}


def _data() -> Path:
    spec = find_spec("inspect_evals")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("τ²-bench needs inspect-evals, which is not installed: pip install '.[eval]'")
    return Path(spec.submodule_search_locations[0]) / "tau2" / "data" / "domains"
