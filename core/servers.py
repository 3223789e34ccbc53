"""Start, probe and stop OpenAI-compatible servers on this machine, whatever their commands."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from core.logs import why_ended
from core.processes import start_supervised
from core.server_protocol import open_url
from core.settings import UserError

HOST = "127.0.0.1"
GRACE_S = 10.0
POLL_S = 0.25


@dataclass(frozen=True)
class Server:
    """A command that serves OpenAI's HTTP API on 127.0.0.1:`port` and writes to `log`."""

    command: tuple[str, ...]
    port: int
    log: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}/v1"


Wait = Callable[[], tuple[str, ...]]
"""Waits until all started servers answer and returns their base URLs. Raises UserError with the cause from its log if
one dies or does not answer in time."""


@contextmanager
def running(servers: Sequence[Server], what: str, timeout_s: float, quiet: bool = False) -> Iterator[tuple[str, ...]]:
    """Start all servers at once, wait until each answers, yield their base URLs, and always stop them afterwards.

    They also stop, within about a second, if this process is killed. Raises UserError with the cause from its log if a
    server dies or does not answer within `timeout_s` seconds. `quiet` prints nothing:
    give it while progress bars are shown.
    """
    with launched(servers, what, timeout_s, quiet) as wait:
        yield wait()


@contextmanager
def launched(servers: Sequence[Server], what: str, timeout_s: float, quiet: bool = False) -> Iterator[Wait]:
    """Like `running`, but does not wait until the servers answer: what it yields does, for `timeout_s` seconds."""
    console = Console(stderr=True, quiet=quiet)
    with ExitStack() as stack:
        engines = [(server, stack.enter_context(_supervised(server))) for server in servers]
        for _, engine in engines:
            stack.callback(engine.terminate)  # terminate all before waiting for any

        def wait() -> tuple[str, ...]:
            began = time.monotonic()
            with console.status(f"starting {what}") as line:
                while waiting := [server for server, _ in engines if not _ready(server)]:
                    seconds = time.monotonic() - began
                    for server, engine in engines:
                        if engine.poll() is not None:
                            raise UserError(f"{what} ended with code {engine.returncode}; {_cause(server)}")
                    if seconds > timeout_s:
                        raise UserError(f"{what} is not ready after {timeout_s:.0f} s; {_cause(waiting[0])}")
                    line.update(f"starting {what} on port {waiting[0].port} · {seconds:.0f} s · log {waiting[0].log}")
                    time.sleep(POLL_S)
            urls = tuple(server.base_url for server in servers)
            ready = f"{what} is ready after {time.monotonic() - began:.0f} s on {', '.join(urls)}"
            console.print(ready, highlight=False, soft_wrap=True)
            return urls

        yield wait


def probe(base_url: str, timeout_s: float = 5.0, key: str = "") -> tuple[str, ...]:
    """Return the names of the models that a server offers with API key `key`. Raises UserError if no OpenAI-compatible
    server answers."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"{base_url.rstrip('/')}/models", headers=headers)
    try:
        with open_url(request, timeout_s) as response:
            return tuple(model["id"] for model in json.load(response)["data"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"no OpenAI-compatible server answers at {base_url} ({error})") from None


def free_ports(count: int, first: int = 0) -> tuple[int, ...]:
    """Return `count` free loopback ports: `first` and the ones after it, or any if `first` is 0.

    Raises UserError if a requested port is taken."""
    with ExitStack() as stack:
        ports = []
        for offset in range(count):
            listener = stack.enter_context(socket.socket())
            # As servers do: a port whose last connections are still closing counts as free.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            requested = first + offset if first else 0
            try:
                listener.bind((HOST, requested))
                listener.listen()
            except (OSError, OverflowError) as error:
                raise UserError(f"port {requested} is not free ({error}); name another one, or 0 for any") from None
            ports.append(listener.getsockname()[1])
        return tuple(ports)


@contextmanager
def _supervised(server: Server) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server's process under a supervisor (core.processes)."""
    server.log.parent.mkdir(parents=True, exist_ok=True)
    with server.log.open("wb") as log:
        engine = start_supervised(server.command, log, GRACE_S, server.environment)
    try:
        yield engine
    finally:
        engine.terminate()
        engine.wait()


def _ready(server: Server) -> bool:
    try:
        return bool(probe(server.base_url))
    except UserError:
        return False


def _cause(server: Server) -> str:
    return f"from its log {server.log}:\n{why_ended(server.log)}"
