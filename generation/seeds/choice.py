"""Which of a source's seeds a config asks for."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from core.settings import UserError, closest


def choose(asked: Sequence[str] | None, known: Collection[str], key: str) -> list[str]:
    """The asked names in order of name, all known ones for None. Raises UserError for a name that is not known, and for a
    bare string where a list is expected; `key` is the config key they were given under."""
    if isinstance(asked, str):
        raise UserError(f"{key}={asked} was given, but a list is expected: {key}=[{asked}]")
    for name in asked or ():
        if name not in known:
            raise UserError(f"{key}: {name!r} is not among the databases here; {closest(name, sorted(known))}")
    return sorted(known if asked is None else set(asked))
