"""The schemas of an OpenAPI document as JSON Schemas that stand alone."""

from __future__ import annotations

from typing import Any

from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

_MOST_PARTS = 20_000
"""Parts of all schemas of one operation: references to references can make a small file grow without bounds."""
_DROPPED = {"discriminator", "xml", "externalDocs", "example", "examples", "deprecated"}
"""What documents say about schemas besides what values are like."""
_LITERAL = {"default", "enum", "const", "required"}


class Schemas:
    """Resolves the references of one operation within its document. Nothing is fetched, and no other file is read.

    `hidden` is the keyword of properties that are left out: readOnly in requests, writeOnly in answers.
    """

    def __init__(self, document: dict[str, Any], hidden: str) -> None:
        self._resolver = Registry().with_resource("", DRAFT202012.create_resource(document)).resolver()
        self._hidden = hidden
        self._parts = 0
        self._recursive: dict[str, str] = {}

    def target(self, part: Any) -> dict[str, Any]:
        """The object that a part of the document is or refers to. Raises ValueError if it is none."""
        for _ in range(10):
            if not isinstance(part, dict):
                raise ValueError(f"an object is expected, got {str(part)[:80]}")
            if not isinstance(part.get("$ref"), str):
                return part
            part = self._lookup(part["$ref"])
        raise ValueError("a chain of references does not end")

    def standalone(self, schema: Any) -> Any:
        """The schema with references resolved in place; what contains itself becomes a reference to `definitions`.
        Raises ValueError for a reference that leads nowhere or out of the document, and for too large a schema."""
        return self._inlined(schema, ())

    def definitions(self) -> dict[str, Any]:
        """The schemas that contain themselves, by the names under which `standalone` refers to them in $defs."""
        found: dict[str, Any] = {}
        while missing := [name for name in self._recursive if name not in found]:
            for name in missing:
                reference = self._recursive[name]
                found[name] = self._inlined(self._lookup(reference), (reference,))
        return found

    def _lookup(self, reference: str) -> Any:
        try:
            if reference.startswith("#"):
                return self._resolver.lookup(reference).contents
        except Unresolvable:
            raise ValueError(f"the reference {reference} leads nowhere") from None
        raise ValueError(f"the reference {reference} leads out of the document, and nothing is fetched")

    def _inlined(self, schema: Any, within: tuple[str, ...]) -> Any:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise ValueError(f"its schemas have more than {_MOST_PARTS:,} parts")
        if isinstance(schema, list):
            return [self._inlined(part, within) for part in schema]
        if not isinstance(schema, dict):
            return schema
        reference = schema.get("$ref")
        if isinstance(reference, str):
            others = {key: part for key, part in schema.items() if key != "$ref"}
            if reference in within:
                return {"$ref": f"#/$defs/{self._named(reference)}"}
            target = self._inlined(self._lookup(reference), (*within, reference))
            return target | self._inlined(others, within) if isinstance(target, dict) else target
        return self._keywords(schema, within)

    def _keywords(self, schema: dict[str, Any], within: tuple[str, ...]) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, part in schema.items():
            if not isinstance(key, str) or key in _DROPPED or key.startswith("x-"):
                continue
            if key == "properties" and isinstance(part, dict):
                plain[key] = {
                    str(name): self._inlined(of, within) for name, of in part.items() if not self._is_hidden(of)
                }
            else:
                plain[key] = part if key in _LITERAL else self._inlined(part, within)
        return plain

    def _is_hidden(self, schema: Any) -> bool:
        return isinstance(schema, dict) and schema.get(self._hidden) is True

    def _named(self, reference: str) -> str:
        stem = reference.rpartition("/")[2] or "schema"
        name, number = stem, 1
        while self._recursive.setdefault(name, reference) != reference:
            number += 1
            name = f"{stem}_{number}"
        return name
