"""Where and when a dialogue takes place, as the prompts of all its roles say it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scene:
    """`domain` and `description` as people say them ("car rental"), not names of files or hashes; `now` is the
    dialogue's one date and time, such as "Tuesday 2025-03-04 10:15"."""

    domain: str
    description: str
    now: str
