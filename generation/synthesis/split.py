"""Divides databases into training and held-out ones by domain, so that both halves share no domain, and a hash that
proves what each half consists of."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

from pydantic import Field

from core.settings import Settings
from generation.seeds.synthesised import Part


class SplitSettings(Settings):
    """Which domains are held out for evaluation."""

    share: float = Field(ge=0, lt=1, description="share of domains that are held out for evaluation, by hash")
    salt: str = Field(description="text that goes into each domain's hash; another one holds out other domains")


def part_of(domain: str, settings: SplitSettings) -> Part:
    """The part of a domain; it depends on nothing else, so that runs of one salt never exchange domains."""
    digest = hashlib.sha256(f"{settings.salt}/{compared(domain)}".encode()).digest()
    return "held_out" if int.from_bytes(digest[:8], "big") < settings.share * 2**64 else "train"


def compared(domain: str) -> str:
    """A domain as it is compared with others: capitals and the encoding of accents make no difference."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", domain).casefold())


def split_hash(files: Iterable[tuple[str, str]]) -> str:
    """One hash of (domain, SHA-256 of a database) pairs, whatever their order."""
    lines = sorted(f"{domain}\t{sha256}\n" for domain, sha256 in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
