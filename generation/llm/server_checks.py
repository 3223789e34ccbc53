"""Checks the parsers of all servers that a run's models use, before anything is generated."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.sampling import Sampling
from core.server_check import check_server
from core.servers import probe
from core.settings import UserError, typed


def check_servers(llm: Mapping[str, Any]) -> tuple[str, ...]:
    """Return warnings about the servers in the settings of a model; those of wrapped models and of roles are included.

    One server of each model is asked. Calls and reasoning left in the text are only warnings, since the client reads
    them (generation.llm.parsing). Servers that are down are skipped: the client waits for them.

    Raises UserError if a server swallows answers or refuses tools.
    """
    checked: dict[str, tuple[str, ...]] = {}
    for client in _clients(llm):
        urls = client["base_urls"]
        if isinstance(urls, str) or not isinstance(urls, Sequence) or not urls or str(urls) in checked:
            continue
        key = os.environ.get(client.get("api_key_env", "OPENAI_API_KEY"), "EMPTY")
        try:
            model = client.get("model") or probe(urls[0], key=key)[0]
        except (UserError, IndexError):
            continue
        sampling = typed(client.get("sampling", {}), Sampling, "sampling")
        body = sampling.body() | client.get("extra_body", {})
        checked[str(urls)] = check_server(urls[0], model, key, body, reads_markup=True)
    return tuple(warning for warnings in checked.values() for warning in warnings)


def _clients(settings: Any) -> Iterator[Mapping[str, Any]]:
    """Every node of the settings that names servers."""
    if isinstance(settings, Mapping):
        if "base_urls" in settings:
            yield settings
        for value in settings.values():
            yield from _clients(value)
