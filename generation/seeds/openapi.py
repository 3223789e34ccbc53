"""Seeds from OpenAPI documents: one domain for each file, with a tool for each operation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from core.settings import UserError, closest
from generation.seeds.base import Seed
from generation.services.openapi import Document, read_document
from generation.specs.titles import title_of, tool_nouns

log = logging.getLogger(__name__)

ENGINE = "openapi"


class OpenApiSeeds:
    """The operations of the documents `paths` (OpenAPI 3, JSON or YAML), one domain for each, named by the file's stem.

    They are simulated, unless the pipeline's environment is openapi. `tools` selects operations by the names of their
    tools (None: all); `licence` applies to documents that state none. Operations that cannot be used are logged.
    """

    def __init__(
        self, paths: Sequence[str | Path], tools: Sequence[str] | None = None, licence: str = "not stated"
    ) -> None:
        self.paths = paths
        self.tools = tools
        self.licence = licence

    def load(self) -> tuple[Seed, ...]:
        if isinstance(self.paths, str) or not self.paths:
            raise UserError(f"paths={self.paths} was given, but a list of files is expected: paths=[openapi.yaml]")
        documents: dict[str, Document] = {}
        for path in map(Path, self.paths):
            if path.stem in documents:
                raise UserError(f"paths: two files would both be named {path.stem!r}: {path}")
            documents[path.stem] = read_document(path)
        for name, document in documents.items():
            for why in document.unusable:
                log.warning("%s: an operation is left out: %s", name, why)
        self._refuse_unknown(documents)
        return tuple(self._seed(name, documents[name]) for name in sorted(documents))

    def _refuse_unknown(self, documents: dict[str, Document]) -> None:
        known = sorted({operation.tool.name for document in documents.values() for operation in document.operations})
        if unknown := [name for name in self.tools or () if name not in known]:
            raise UserError(f"tools: {unknown[0]!r} is not an operation of the documents; {closest(unknown[0], known)}")

    def _seed(self, name: str, document: Document) -> Seed:
        tools = tuple(
            operation.tool
            for operation in document.operations
            if self.tools is None or operation.tool.name in self.tools
        )
        if not tools:
            why = f": {'; '.join(document.unusable[:3])}" if document.unusable else ""
            raise UserError(f"{name} has no operation that can be used{why}")
        return Seed(
            name=name,
            title=title_of(document.title, tool_nouns(tools)),
            source=ENGINE,
            licence=document.licence or self.licence,
            tools=tools,
            engine=ENGINE,
        )
