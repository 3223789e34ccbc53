"""Grading makes no requests: LiteLLM, whose import takes most of the start-up time, is replaced by an empty module."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

MODULES = ("litellm", "litellm.caching", "litellm.caching.caching", "litellm.main")


class NoRequests(ModuleType):
    """A module whose attributes are functions that refuse to be called, except those that configure it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _configure if name.endswith("_cache") else _Refused


class _Refused:
    """Stands for classes and functions: can be named in annotations, but not called."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        raise RuntimeError("grading must not request anything from a model")


def _configure(*arguments: Any, **more: Any) -> None:
    """Does nothing."""


def forbid_requests() -> None:
    for name in MODULES:
        sys.modules[name] = NoRequests(name)
