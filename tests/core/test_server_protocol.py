"""Refusals, waiting times and seeds, against texts of real servers and values computed by hand."""

from __future__ import annotations

import subprocess
import sys
import time
from email.utils import formatdate

import pytest

from core.server_protocol import (
    context_in_refusal,
    exceeds_context,
    is_transient,
    proxy_of,
    request_seed,
    retry_after_s,
    token_counts,
    total,
    wrapped_error,
)
from tests.helpers.paths import ROOT
from tests.helpers.refusals import OF_CONTEXT, OTHERS, body


@pytest.mark.parametrize("server", OF_CONTEXT)
def test_a_refusal_for_length_is_recognised_whoever_sends_it(server: str) -> None:
    status, refusal = OF_CONTEXT[server]
    assert exceeds_context(body(refusal), status)


@pytest.mark.parametrize("kind", OTHERS)
def test_other_refusals_are_not_for_length(kind: str) -> None:
    status, refusal = OTHERS[kind]
    assert not exceeds_context(body(refusal), status)


def test_only_the_start_of_a_refusal_is_searched() -> None:
    phrase = "prompt too long"
    assert exceeds_context("." * (2000 - len(phrase)) + phrase)
    assert not exceeds_context("." * (2001 - len(phrase)) + phrase)


@pytest.mark.parametrize(
    ("refusal", "stated"),
    [
        (
            "This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens.",
            (4096, 5000),
        ),
        ("maximum context length is 512 tokens", (512, None)),
        ("it is too long", (None, None)),
    ],
)
def test_sizes_are_read_from_a_refusal(refusal: str, stated: tuple[int | None, int | None]) -> None:
    assert context_in_refusal(refusal) == stated


def test_a_count_that_no_server_gave_is_unknown() -> None:
    assert token_counts({"usage": {"prompt_tokens": 7, "completion_tokens": 0}}) == (7, 0)
    assert token_counts({"usage": {"prompt_tokens": 7, "total_tokens": 9}}) == (7, None)
    for usage in ({}, {"usage": None}, {"usage": "none"}, {"usage": {"completion_tokens": None}}):
        assert token_counts(usage) == (None, None)
    assert (total([]), total([3, 0, 4]), total([3, None])) == (0, 7, None)


def test_only_a_reply_without_an_answer_wraps_an_error() -> None:
    assert wrapped_error({"error": {"message": "für immer"}}) == '{"message": "für immer"}'
    for reply in ({"choices": [{}], "error": "late"}, {"error": None}, {}, [], "text"):
        assert wrapped_error(reply) is None


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
    assert max(seeds) >= 2**30
    # The first four bytes of `printf '0\0a/user/0' | b2sum -l 32`, halved: the same in every version and process.
    assert request_seed(0, "a/user/0") == 0xC0E80F5F // 2


@pytest.mark.parametrize(
    ("named", "proxy"),
    [
        ({"http_proxy": "squid:3128"}, "http://squid:3128"),
        ({"http_proxy": "http://squid:3128"}, "http://squid:3128"),
        ({"all_proxy": "socks5://squid:1080"}, "socks5://squid:1080"),
        ({"https_proxy": "squid:3128"}, None),
        ({"http_proxy": "squid:3128", "no_proxy": "models.example"}, None),
        ({}, None),
    ],
)
def test_the_proxy_is_the_one_that_the_environment_names(
    named: dict[str, str], proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    assert proxy_of("http://models.example/v1") == proxy
    for here in ("http://localhost:8000", "http://127.0.0.2:8000", "http://[::1]:8000", "http://0.0.0.0:8000"):
        assert proxy_of(here) is None


def test_it_needs_only_the_standard_library() -> None:
    """-S leaves out site-packages, as in an environment that has nothing of ours."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import core.server_protocol"
    subprocess.run([sys.executable, "-S", "-c", code], check=True)
