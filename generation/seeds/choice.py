"""Selects seeds of a source by name, as configured."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from core.settings import UserError, closest


def choose(names: Sequence[str] | None, known: Collection[str], key: str) -> list[str]:
    """The requested names, sorted; None selects all known ones. Raises UserError for an unknown name, an empty list,
    and anything but a list; `key` is the config key of `names`."""
    if names is not None and (isinstance(names, str) or not isinstance(names, Sequence)):
        raise UserError(f"{key}={names} was given, but a list is expected: {key}=[{names}]")
    if names is not None and not names:
        raise UserError(f"{key}=[] was given; expected: at least one name, or null for all: {', '.join(sorted(known))}")
    for name in names or ():
        if name not in known:
            raise UserError(f"{key}: {name!r} is not a known database; {closest(str(name), sorted(known))}")
    return sorted(known if names is None else set(names))
