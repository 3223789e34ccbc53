"""Answers that break a pipeline."""

from __future__ import annotations

from generation.pipeline import DomainTools

Domains = tuple[DomainTools, ...]


EXECUTED = "user_oriented_exec"
