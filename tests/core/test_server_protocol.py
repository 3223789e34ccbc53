"""Refusals, waiting times and seeds, against texts of real servers and values computed by hand."""

from __future__ import annotations

import subprocess
import sys
import time
from email.utils import formatdate

import pytest

from core.server_protocol import exceeds_context, is_transient, request_seed, retry_after_s
from tests.helpers.paths import ROOT


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        ("This model's maximum context length is 8192 tokens. However, you requested 9000 tokens", True),
        ('{"error": {"code": "context_length_exceeded"}}', True),
        ("The prompt (total length 9000) is longer than the maximum model length of 8192", True),
        ("max_tokens=9000 is greater than max_model_len=8192", True),
        ("litellm.ContextWindowExceededError: too many tokens", True),
        ("the model is overloaded", False),
        ("invalid tool schema: length must be positive", False),
    ],
)
def test_refusals_for_length_are_distinguished_from_others(refusal: str, expected: bool) -> None:
    assert exceeds_context(refusal) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((status, True) for status in (408, 409, 425, 429, 500, 502, 503, 504, 520, 524, 529)),
        *((status, False) for status in (200, 400, 401, 403, 404, 413, 422, 501)),
    ],
)
def test_statuses_worth_another_try(status: int, expected: bool) -> None:
    assert is_transient(status) is expected


@pytest.mark.parametrize(("header", "expected"), [("3", 3.0), ("0.5", 0.5), ("0", 0.0), ("-2", 0.0)])
def test_retry_after_in_seconds(header: str, expected: float) -> None:
    assert retry_after_s(header) == expected


def test_retry_after_as_a_date() -> None:
    wait = retry_after_s(formatdate(time.time() + 30, usegmt=True))
    assert wait is not None
    assert 25 < wait <= 30
    assert retry_after_s(formatdate(time.time() - 30, usegmt=True)) == 0.0


@pytest.mark.parametrize("header", ["", "soon", "2026-13-45", "nan", "inf"])
def test_an_unreadable_retry_after_is_ignored(header: str) -> None:
    assert retry_after_s(header) is None


def test_seeds_depend_on_seed_and_key_and_fit_31_bits() -> None:
    seeds = {request_seed(seed, key) for seed in range(20) for key in ("a/user/0", "a/user/1", "b/user/0")}
    assert len(seeds) == 60
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert request_seed(0, "a/user/0") == request_seed(0, "a/user/0")


def test_it_needs_only_the_standard_library() -> None:
    """-S leaves out site-packages, as in an environment that has nothing of ours."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import core.server_protocol"
    subprocess.run([sys.executable, "-S", "-c", code], check=True)
