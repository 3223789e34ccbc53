"""Seeds from Spider's databases (Yu et al. 2018), in their distributed layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from core.settings import UserError
from generation.seeds.base import Seed
from generation.seeds.choice import choose
from generation.seeds.sqlite import table_names
from generation.specs.titles import table_nouns, title_of


class SpiderSeeds:
    """Databases of the folder `root` with tables.json and database/<id>/<id>.sqlite.

    Without `names`, every database of tables.json whose file exists.
    """

    def __init__(self, root: str | Path | None, names: Sequence[str] | None = None) -> None:
        self.root = Path(root or "")
        self.is_given = root is not None
        self.names = names

    def load(self) -> tuple[Seed, ...]:
        if not self.is_given:
            raise UserError("root was not given; expected: root=FOLDER, Spider's, with tables.json and database/")
        tables = self._read_tables_json()
        present = [name for name in tables if self._file(name).is_file()]
        if self.names is None and not present:
            raise UserError(f"{self.root} was given, but it has no database/<id>/<id>.sqlite of its tables.json")
        chosen = choose(present if self.names is None else self.names, tables, "names")
        return tuple(self._seed(name, tables[name]) for name in chosen)

    def _file(self, name: str) -> Path:
        return self.root / "database" / name / f"{name}.sqlite"

    def _seed(self, name: str, tables: list[str]) -> Seed:
        table_names(self._file(name))  # raises if the file is missing or broken
        return Seed(
            name=name,
            title=title_of(name, table_nouns(tables)),
            database=self._file(name),
            source="spider",
            licence="CC BY-SA 4.0",
        )

    def _read_tables_json(self) -> dict[str, list[str]]:
        path = self.root / "tables.json"
        try:
            return {schema["db_id"]: schema["table_names"] for schema in json.loads(path.read_text(encoding="utf-8"))}
        except FileNotFoundError:
            raise UserError(f"root={self.root} was given, but there is no {path}; expected: Spider's folder") from None
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{path} is not Spider's list of schemas, each with db_id and table_names: {error!r}"
            ) from None
