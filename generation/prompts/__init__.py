"""Prompts are files: one Jinja2 template per role, identified in manifests by the hash of its text."""

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
    # Jinja's own filter escapes for HTML (O\u0027Brien) and sorts keys, so not in the order of a table's columns.
    environment.filters["tojson"] = partial(json.dumps, ensure_ascii=False)
    return environment


def render(prompt: str, **values: Any) -> str:
    """The template `prompt`.j2, filled in. Raises jinja2.UndefinedError for a missing value."""
    return _templates().get_template(f"{prompt}.j2").render(**values).strip()


@cache
def prompt_ids() -> dict[str, str]:
    """Prompt name -> first 12 hex digits of the SHA-256 of its template."""
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in sorted(_HERE.glob("*.j2"))}
