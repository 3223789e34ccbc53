"""Write a page: one HTML file that needs no other file and no network, with its transcripts compressed inside.

The sections are HTML, so they paint at once and print without JavaScript; the transcripts are data (payload.py).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from core.files import write_atomically
from core.page.contents import Figure, Page, Transcript
from core.page.payload import payload_elements, well_formed

SCRIPTS = (
    "nodes.js",
    "payload.js",
    "location.js",
    "filters.js",
    "list.js",
    "messages.js",
    "transcript.js",
    "branches.js",
    "comparison.js",
    "sections.js",
    "keyboard.js",
    "start.js",
)
_HERE = Path(__file__).parent


def write_page(path: Path, page: Page, transcripts: Iterable[Transcript]) -> int:
    """Write `page` with its transcripts to `path` and return the file's size in bytes. Equal input gives equal bytes.

    Reads `transcripts` once and keeps one chunk in memory. Raises ValueError for a key that occurs twice, and UserError
    if `path` is not a regular file.
    """
    script = _script()
    parts = _template().generate(
        page=page,
        style=Markup((_HERE / "style.css").read_text()),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        payload=payload_elements(transcripts),
    )
    write_atomically(path, parts)
    return path.stat().st_size


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
        finalize=_html,
    )
    environment.filters |= {"query": _query, "permalink": _permalink, "drawing": _drawing}
    return environment.get_template("page.html.j2")


@cache
def _script() -> str:
    """All scripts as one: they share their top-level names."""
    return "\n".join(["", '"use strict";', *((_HERE / name).read_text() for name in SCRIPTS)])


def _html(value: Any) -> Markup:
    """A value as HTML that a browser reads back unchanged; what no HTML can hold becomes U+FFFD."""
    if isinstance(value, Markup):
        return value
    text = well_formed(str(value)).replace("\0", "\ufffd")
    # A browser turns a bare carriage return into a line feed.
    return Markup(str(escape(text)).replace("\r", "&#13;"))


def _query(filters: dict[str, str]) -> str:
    """The address of the transcripts with these facets; location.js reads it."""
    return "#" + urlencode({f"f.{well_formed(name)}": well_formed(value) for name, value in filters.items()})


def _permalink(key: str) -> str:
    return "#" + urlencode({"t": well_formed(key)})


def _drawing(figure: Figure) -> Markup:
    return Markup(figure.svg.replace("<svg", f'<svg aria-label="{_html(figure.alt)}"', 1))
