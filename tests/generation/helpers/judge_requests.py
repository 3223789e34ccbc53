"""Requests to the judge."""

from __future__ import annotations

VALID = '{"judgment": "valid", "reasoning": "All is done."}'
