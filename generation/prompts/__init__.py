"""Prompts are files: one Jinja2 template a role, known in manifests by the hash of its text."""

from __future__ import annotations

import hashlib
import json
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_HERE = Path(__file__).parent


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    # Jinja's own filter writes for HTML: O\u0027Brien, and keys in another order than the table's columns.
    environment.filters["tojson"] = partial(json.dumps, ensure_ascii=False)
    return environment


def render(prompt: str, **values: Any) -> str:
    """The prompt `prompt`.j2 filled in. A value it needs and does not get is an error."""
    return _templates().get_template(f"{prompt}.j2").render(**values).strip()


@cache
def prompt_ids() -> dict[str, str]:
    """Prompt name -> first 12 hex digits of the SHA-256 of its template."""
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in sorted(_HERE.glob("*.j2"))}
