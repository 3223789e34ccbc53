"""Seeds from SQLite files, by path. A file that is marked as held out, wherever it was copied, stays so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.settings import UserError
from generation.database.held_out_mark import is_held_out
from generation.database.tables import read_served
from generation.seeds.base import Seed
from generation.specs.titles import table_nouns, title_of


class SqliteSeeds:
    """One seed for each file of `paths`, named by the file's stem."""

    def __init__(self, paths: Sequence[str | Path], licence: str = "not stated") -> None:
        self.paths = paths
        self.licence = licence

    def load(self) -> tuple[Seed, ...]:
        if isinstance(self.paths, str) or not self.paths:
            raise UserError(f"paths={self.paths} was given, but a list of files is expected: paths=[data.sqlite]")
        seeds: dict[str, Seed] = {}
        for path in map(Path, self.paths):
            if path.stem in seeds:
                raise UserError(f"paths: {seeds[path.stem].database} and {path} would both be named {path.stem!r}")
            seeds[path.stem] = Seed(
                name=path.stem,
                title=title_of(path.stem, table_nouns(table_names(path))),
                database=path,
                source="sqlite",
                licence=self.licence,
                held_out=is_held_out(path),
            )
        return tuple(seeds[name] for name in sorted(seeds))


def table_names(path: Path) -> list[str]:
    """The names of the tables that serve, sorted. Raises UserError if `path` is not an SQLite database with some."""
    if not path.is_file():
        raise UserError(f"{path} was given, but there is no such file; expected: an SQLite database")
    served = read_served(path)
    if not served.tables:
        raise UserError(f"{path} was given, but it has no tables{_reasons(served.left_out)}")
    return sorted(served.tables)


def _reasons(left_out: Sequence[str]) -> str:
    return f" that can be used here: {'; '.join(left_out[:3])}" if left_out else ""
