"""Serving, tested with a dummy server: a real process group that answers /v1/models."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from core.servers import Server, free_ports, probe, running
from core.settings import UserError

# Forks a child that ignores SIGTERM, as a hung worker does; records both pids; then serves a model list.
ENGINE = textwrap.dedent("""
    import http.server, json, os, signal, sys, time
    port, pids = int(sys.argv[1]), sys.argv[2]
    worker = os.fork()
    if worker == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    with open(pids, "w") as file:
        file.write(f"{os.getpid()} {worker}")
    class Models(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"data": [{"id": f"dummy-{port}"}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
    http.server.HTTPServer(("127.0.0.1", port), Models).serve_forever()
""")


def dummy(folder: Path, port: int) -> Server:
    program = folder / "engine.py"
    program.write_text(ENGINE)
    command = (sys.executable, str(program), str(port), str(folder / f"pids-{port}"))
    return Server(command, port, folder / f"engine-{port}.log")


def failing(folder: Path, program: str) -> Server:
    return Server((sys.executable, "-c", program), free_ports(1)[0], folder / "engine.log")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.fixture
def brief_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.servers.GRACE_S", 0.3)


@pytest.mark.usefixtures("brief_grace")
def test_replicas_serve_and_leave_no_process_behind(tmp_path: Path) -> None:
    ports = free_ports(2)
    with running([dummy(tmp_path, port) for port in ports], "two dummies", 60) as urls:
        assert [probe(url) for url in urls] == [(f"dummy-{port}",) for port in ports]
        pids = [int(pid) for port in ports for pid in (tmp_path / f"pids-{port}").read_text().split()]
        assert len(pids) == 4
        assert all(map(alive, pids))
    assert not any(map(alive, pids))
    with pytest.raises(UserError, match="no OpenAI-compatible server answers"):
        probe(urls[0])


@pytest.mark.usefixtures("brief_grace")
def test_servers_stop_when_the_body_fails(tmp_path: Path) -> None:
    server = dummy(tmp_path, free_ports(1)[0])
    with pytest.raises(RuntimeError, match="in the body"), running([server], "a dummy", 60):
        raise RuntimeError("in the body")
    pids = [int(pid) for pid in (tmp_path / f"pids-{server.port}").read_text().split()]
    assert not any(map(alive, pids))


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_owner_leaves_no_orphan(tmp_path: Path, signum: signal.Signals) -> None:
    server = dummy(tmp_path, free_ports(1)[0])
    pids = Path(server.command[-1])
    owner = textwrap.dedent(f"""
        import time, pathlib, core.servers as serving
        serving.GRACE_S = 0.3
        server = serving.Server({server.command!r}, {server.port}, pathlib.Path({str(server.log)!r}))
        with serving.running([server], "a dummy", 60):
            print("up", flush=True)
            time.sleep(600)
    """)
    process = subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    engine, worker = (int(pid) for pid in pids.read_text().split())
    assert alive(engine)
    assert alive(worker)
    os.kill(process.pid, signum)
    process.communicate()
    assert wait_until(lambda: not alive(engine) and not alive(worker))


def test_a_dying_server_is_an_error_with_its_log(tmp_path: Path) -> None:
    server = failing(tmp_path, "import sys; print('no such weights'); sys.exit(3)")
    with pytest.raises(UserError, match=r"a dummy ended with code 3; from its log (.|\n)*no such weights"):
        running([server], "a dummy", 60).__enter__()


def test_a_server_that_never_answers_is_stopped(tmp_path: Path) -> None:
    program = "import os, time; print('loading as', os.getpid(), flush=True); time.sleep(600)"
    server = failing(tmp_path, program)
    with pytest.raises(UserError, match=r"a dummy is not ready after 3 s; (.|\n)*loading as"):
        running([server], "a dummy", 3).__enter__()
    assert not alive(int(server.log.read_text().split()[-1]))


def test_ports_are_distinct_and_a_taken_port_is_an_error() -> None:
    assert len(set(free_ports(8))) == 8
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} is not free"):
            free_ports(1, port)
    assert free_ports(1, port) == (port,)


@pytest.mark.parametrize("body", ["[]", "{}", "null", '{"data": null}', '{"data": ["m"]}', '{"data": [{}]}', "<html>"])
def test_a_server_with_another_list_of_models_is_no_openai_server(body: str) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(UserError, match="no OpenAI-compatible server answers at"):
            probe(f"http://127.0.0.1:{server.server_address[1]}/v1")
        server.shutdown()
