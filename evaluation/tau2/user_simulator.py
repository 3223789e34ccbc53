"""The user simulator of a τ² run: the configured endpoint, a model that is served for it, or the scripted customer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.server_check import check_server
from core.servers import Server, free_ports, running
from core.serving import serve
from evaluation.endpoint import Endpoint
from evaluation.tau2.settings import Tau2Settings

SCRIPTED_CUSTOMER = "scripted-user"
"""The scripted customer's model name, as trial records show it."""
START_TIMEOUT_S = 60


@contextmanager
def user_simulator(settings: Tau2Settings, concurrency: int, directory: Path) -> Iterator[Endpoint]:
    """Yields the configured endpoint, or starts the model or the scripted customer that plays the user, logging to
    `directory`, and stops it. Raises UserError as `core.serving.serve` does, and if the server's parsers do not fit its
    model (core.server_check)."""
    if settings.user:
        yield settings.user
        return
    if served := settings.served_user:
        name = Path(served.model).name if Path(served.model).is_dir() else served.model
        with serve(served.model, served.serving, directory, name) as urls:
            user = Endpoint(
                base_url=urls[0],
                model=name,
                sampling=served.sampling,
                chat_template_kwargs=served.chat_template_kwargs,
                concurrency=concurrency,
            )
            check_server(user.base_url, user.model, user.api_key(), user.body())
            yield user
        return
    (port,) = free_ports(1)
    command = (sys.executable, "-m", "generation.scripted.customer_server", "--port", str(port))
    server = Server(command, port, directory / "customer.log")
    with running([server], "the scripted customer", START_TIMEOUT_S, quiet=True) as urls:
        yield Endpoint(base_url=urls[0], model=SCRIPTED_CUSTOMER)
