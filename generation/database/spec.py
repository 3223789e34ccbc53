"""The typed form of a synthesised database: tables with keys, references, columns, constraints and generators of rows.

A generator is data of a closed set of kinds, never code. A row's values are made in the order of the columns, and a
column may be derived only from columns before it.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from core.messages import Frozen
from generation.specs.spelling import singular, snake

Type = Literal["integer", "number", "text", "date", "time", "boolean"]
"""Dates are ISO text (2025-03-04), times HH:MM, booleans 0 and 1."""

Provider = Literal[
    "person", "first_name", "last_name", "company", "city", "state", "country", "street_address", "postcode",
    "phone", "job", "colour", "url", "username", "licence_plate", "iban", "isbn", "sentence",
]  # fmt: skip
PROVIDERS: tuple[str, ...] = get_args(Provider)


class FakerValues(Frozen):
    """Invented text of one kind."""

    kind: Literal["faker"]
    provider: Provider


class ChoiceValues(Frozen):
    """One of a closed set; a CHECK of the table lists it. Without `weights` all are equally likely."""

    kind: Literal["choices"]
    options: tuple[str, ...] | tuple[int, ...] | tuple[float, ...]
    weights: tuple[float, ...] | None = None


class WordValues(Frozen):
    """A title of one word of each part: [["Night", "Reef"], ["Dive", "Tour"]] -> "Reef Tour"."""

    kind: Literal["words"]
    parts: tuple[tuple[str, ...], ...]


class PatternValues(Frozen):
    """A code: each # becomes a digit, each ? a capital letter."""

    kind: Literal["pattern"]
    pattern: str


class NumberValues(Frozen):
    """A multiple of `step` above `low`, up to `high`: all alike, most in the middle, or most of them small."""

    kind: Literal["numbers"]
    low: float
    high: float
    step: float = 1
    shape: Literal["uniform", "normal", "skewed"] = "uniform"


class DateValues(Frozen):
    """A day from `first` to `last`, inclusive."""

    kind: Literal["dates"]
    first: str
    last: str


class TimeValues(Frozen):
    """A time of day from `first` to `last`, inclusive."""

    kind: Literal["times"]
    first: str
    last: str
    step_minutes: int = 30


class FlagValues(Frozen):
    """1 with probability `share`, else 0."""

    kind: Literal["flag"]
    share: float


class ProductValues(Frozen):
    """The product of number columns of the row: quantity times unit price."""

    kind: Literal["product"]
    of: tuple[str, ...]


class DaysAfterValues(Frozen):
    """`fewest` to `most` days after a date column of the row; empty where that one is."""

    kind: Literal["days_after"]
    of: str
    fewest: int
    most: int


class CopiedValues(Frozen):
    """The value of column `of` in the row that the column `through` refers to; empty without one."""

    kind: Literal["copied"]
    through: str
    of: str


class EmailValues(Frozen):
    """An address made from a name column of the row, at a domain reserved for examples."""

    kind: Literal["email"]
    of: str


Values = Annotated[
    FakerValues | ChoiceValues | WordValues | PatternValues | NumberValues | DateValues | TimeValues | FlagValues
    | ProductValues | DaysAfterValues | CopiedValues | EmailValues,
    Field(discriminator="kind"),
]  # fmt: skip


class ColumnSpec(Frozen):
    """A column that is neither key nor reference. `missing` is the share of rows without a value."""

    name: str
    type: Type
    values: Values
    unique: bool = False
    missing: float = 0.0


class Reference(Frozen):
    """A foreign key to the key of `table`. With `skewed`, few rows of it are referred to often; in a reference to the
    own table a row refers to an earlier one, the first one to none."""

    column: str
    table: str
    missing: float = 0.0
    skewed: bool = False


class Check(Frozen):
    """A CHECK: `column` compared with a literal or with another column of the row; it holds where one is empty."""

    column: str
    op: Literal[">", ">=", "<", "<="]
    value: float | str | None = None
    other: str | None = None


class TableOutline(Frozen):
    """A table before its columns are known: `key` is an INTEGER PRIMARY KEY, numbered from 1."""

    name: str
    key: str
    rows: int
    references: tuple[Reference, ...] = ()

    @property
    def noun(self) -> str:
        """What one row is: dive_trips -> dive_trip."""
        return singular(snake(self.name))

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns that an outline has already: the key and the references."""
        return (self.key, *(reference.column for reference in self.references))


class TableSpec(TableOutline):
    """A table. `unique_together` are references and columns with closed values of which no two rows have the same."""

    columns: tuple[ColumnSpec, ...]
    unique_together: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()


class Outline(Frozen):
    """A database's domain and tables, parents first; `title` and `description` are those of its seed."""

    title: str
    description: str
    tables: tuple[TableOutline, ...]

    @property
    def name(self) -> str:
        return snake(self.title)


class DatabaseSpec(Frozen):
    """A complete database."""

    title: str
    description: str
    tables: tuple[TableSpec, ...]

    @property
    def name(self) -> str:
        return snake(self.title)
