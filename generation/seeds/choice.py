"""Which of a source's seeds a config asks for."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from core.settings import UserError, closest


def choose(asked: Sequence[str] | None, known: Collection[str], key: str) -> list[str]:
    """The asked names in order of name, all known ones for None. Raises UserError for a name that is not known, for none at
    all, and for anything else where a list is expected; `key` is the config key they were given under."""
    if asked is not None and (isinstance(asked, str) or not isinstance(asked, Sequence)):
        raise UserError(f"{key}={asked} was given, but a list is expected: {key}=[{asked}]")
    if asked is not None and not asked:
        raise UserError(
            f"{key}=[] was given; at least one is expected, or null for all of them: {', '.join(sorted(known))}"
        )
    for name in asked or ():
        if name not in known:
            raise UserError(f"{key}: {name!r} is not among the databases here; {closest(str(name), sorted(known))}")
    return sorted(known if asked is None else set(asked))
