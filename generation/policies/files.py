"""Policies given as a file: JSON or YAML of {domain: policy}."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from core.policy import Policy
from core.settings import UserError

_POLICIES: TypeAdapter[dict[str, Policy]] = TypeAdapter(dict[str, Policy])


def read_policies(path: Path) -> dict[str, Policy]:
    """The policies of a file by domain. Raises UserError with the place of what is wrong."""
    expected = "expected: JSON or YAML of {domain: {rules: [...]}}"
    try:
        # JSON is YAML. YAML's dates become text again.
        content: Any = json.loads(json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")), default=str))
    except (OSError, ValueError, yaml.YAMLError, TypeError, RecursionError) as error:
        raise UserError(f"{path} was given, but it cannot be read; {expected} ({error})") from None
    try:
        return _POLICIES.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: {place}: {first['msg']} (given: {first['input']!r}); {expected}") from None
