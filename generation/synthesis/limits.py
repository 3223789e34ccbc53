"""How large and how varied a synthesised database must be."""

from __future__ import annotations

from pydantic import Field, field_validator

from core.settings import Settings


class Limits(Settings):
    """Bounds of what is accepted."""

    tables: tuple[int, int] = Field(description="fewest and most tables")
    rows: tuple[int, int] = Field(description="fewest and most rows of a table")
    columns: tuple[int, int] = Field(description="fewest and most columns of a table besides its key and references")
    distinct: float = Field(
        ge=0, le=1, description="smallest share of rows of a table that differ from all others in more than the key"
    )
    likeness: float = Field(
        gt=0, le=1, description="likeness to a bundled, held-out or benchmark schema from which a database is a copy"
    )
    likeness_in_run: float = Field(
        gt=0, le=1, description="likeness to an earlier database of the run from which a database is a repetition"
    )

    @field_validator("tables", "rows", "columns")
    @classmethod
    def _is_range(cls, bounds: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= bounds[0] <= bounds[1]:
            raise ValueError("expected two numbers from 1 on, first the fewest and then the most")
        return bounds
