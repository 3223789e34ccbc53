"""The user simulator of a τ² run: the configured endpoint, or the scripted customer on a port of this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.servers import Server, free_ports, running
from evaluation.endpoint import Endpoint

SCRIPTED_CUSTOMER = "scripted-user"
"""The scripted customer's model name, as trial records show it."""
START_TIMEOUT_S = 60


@contextmanager
def user_simulator(configured: Endpoint | None, directory: Path) -> Iterator[Endpoint]:
    """Yields `configured`, or starts the scripted customer, logging to `directory`/customer.log, and stops it."""
    if configured:
        yield configured
        return
    (port,) = free_ports(1)
    command = (sys.executable, "-m", "generation.scripted.customer_server", "--port", str(port))
    server = Server(command, port, directory / "customer.log")
    with running([server], "the scripted customer", START_TIMEOUT_S, quiet=True) as urls:
        yield Endpoint(base_url=urls[0], model=SCRIPTED_CUSTOMER)
