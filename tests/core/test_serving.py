"""Serving, tested with a dummy server: a real process group that answers /v1/models."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from core.serving import EngineSettings, Server, free_ports, probe, running, serve
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
    monkeypatch.setattr("core.serving.GRACE_S", 0.3)


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
        import time, pathlib, core.serving as serving
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


def test_serving_refuses_missing_models_and_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="is not a model: expected a directory"):
        serve(tmp_path, EngineSettings(), tmp_path).__enter__()
    model = model_in(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match="sees no GPU"):
        serve(model, EngineSettings(device="cuda"), tmp_path).__enter__()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    with pytest.raises(UserError, match="need 4 GPUs, but this machine has 3"):
        serve(model, EngineSettings(replicas=2, tensor_parallel=2), tmp_path).__enter__()


def model_in(folder: Path, context: int = 8192, template: str = "<think> <tool_call>") -> Path:
    """The files of a model that say how it is served."""
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": context}))
    (folder / "chat_template.jinja").write_text(template)
    return folder


@pytest.fixture
def servers_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Server]]:
    """The servers that `serve` would start for a model with the given settings."""

    def start(model: Path, **settings: Any) -> list[Server]:
        started: list[Server] = []

        @contextmanager
        def record(servers: Sequence[Server], what: str, timeout_s: float) -> Iterator[tuple[str, ...]]:
            started.extend(servers)
            yield ()

        monkeypatch.setattr("core.serving.running", record)
        with serve(model, EngineSettings(**settings), tmp_path):
            return started

    return start


def option(server: Server, name: str) -> str | None:
    """The value of a command-line option; None if it is not given."""
    return server.command[server.command.index(name) + 1] if name in server.command else None


def test_each_replica_gets_its_own_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers_for: Callable[..., list[Server]]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    started = servers_for(model_in(tmp_path), replicas=2, tensor_parallel=2)
    assert [server.environment["CUDA_VISIBLE_DEVICES"] for server in started] == ["4,5", "6,7"]
    assert all("--enforce-eager" not in server.command for server in started)


@pytest.mark.parametrize("hidden", ["", " ", "-1", " -1 ", "NoDevFiles", "none", "-1,0"])
def test_hidden_gpus_are_none(
    hidden: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers_for: Callable[..., list[Server]]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    (server,) = servers_for(model_in(tmp_path))
    assert "--enforce-eager" in server.command
    assert "VLLM_CPU_KVCACHE_SPACE" in server.environment
    with pytest.raises(UserError, match=r"device=cuda was given, but this process sees no GPU"):
        servers_for(tmp_path, device="cuda")


@pytest.mark.parametrize(
    ("visible", "ids"), [(" 2 , 3", "2,3"), ("1,0,-1,3", "1,0"), ("GPU-8a-b,MIG-7c", "GPU-8a-b,MIG-7c")]
)
def test_gpus_are_visible_up_to_the_first_that_names_none(
    visible: str, ids: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers_for: Callable[..., list[Server]]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    (server,) = servers_for(model_in(tmp_path), tensor_parallel=2)
    assert server.environment["CUDA_VISIBLE_DEVICES"] == ids


def test_parsers_follow_the_model_unless_they_are_given(
    tmp_path: Path, servers_for: Callable[..., list[Server]]
) -> None:
    def parsers(template: str, **settings: Any) -> tuple[str | None, ...]:
        (server,) = servers_for(model_in(tmp_path, template=template), device="cpu", **settings)
        assert ("--enable-auto-tool-choice" in server.command) == ("--tool-call-parser" in server.command)
        return option(server, "--reasoning-parser"), option(server, "--tool-call-parser")

    assert parsers("<think> <tool_call>") == ("qwen3", "hermes")
    assert parsers("<tool_call>") == (None, "hermes"), "a model that does not think"
    assert parsers("<|channel|>") == ("openai_gptoss", "openai")
    assert parsers("plain") == (None, None)
    assert parsers("plain", reasoning_parser="deepseek_r1", tool_call_parser="xlam") == ("deepseek_r1", "xlam")
    assert parsers("<think> <tool_call>", reasoning_parser=None, tool_call_parser=None) == (None, None)


def test_the_context_is_the_models_own_and_never_more(
    tmp_path: Path, servers_for: Callable[..., list[Server]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_in(tmp_path, context=32768)
    (own,), (shorter,) = (servers_for(model, device="cpu", **given) for given in ({}, {"max_model_len": 20000}))
    assert [option(server, "--max-model-len") for server in (own, shorter)] == [None, "20000"]
    assert [option(server, "--max-num-batched-tokens") for server in (own, shorter)] == ["32768", "20000"]
    (small,) = servers_for(model_in(tmp_path, context=8192), device="cpu")
    assert option(small, "--max-num-batched-tokens") == "16384"
    with pytest.raises(UserError, match=r"max_model_len=16384 was given, but .* has a context of 8192 tokens"):
        servers_for(model, device="cpu", max_model_len=16384)
    stretched = servers_for(model, device="cpu", max_model_len=16384, extra_arguments=("--hf-overrides", "{}"))
    assert option(stretched[0], "--max-model-len") == "16384"


@pytest.mark.parametrize(
    ("cores", "settings", "threads"),
    [
        (2, {}, "1"),
        (1, {}, "1"),
        (16, {}, "15"),
        (16, {"replicas": 2}, "7"),
        (4, {"replicas": 8}, "1"),
        (16, {"cpu_threads": 1}, "1"),
        (2, {"cpu_threads": 2}, "2"),
    ],
)
def test_a_cpu_engine_uses_its_share_of_the_physical_cores(
    cores: int,
    settings: dict[str, int],
    threads: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    servers_for: Callable[..., list[Server]],
) -> None:
    monkeypatch.setattr("core.serving.physical_cores", lambda: list(range(cores)))
    started = servers_for(model_in(tmp_path), device="cpu", **settings)
    assert {server.environment["OMP_NUM_THREADS"] for server in started} == {threads}
    assert {server.environment["VLLM_CPU_OMP_THREADS_BIND"] for server in started} == {"nobind"}


@pytest.mark.parametrize("native", [True, False])
def test_a_cpu_that_would_emulate_bfloat16_serves_in_float32(
    native: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers_for: Callable[..., list[Server]]
) -> None:
    monkeypatch.setattr("core.serving.multiplies_bfloat16", lambda: native)
    (server,) = servers_for(model_in(tmp_path), device="cpu")
    assert ("--dtype" in server.command) is not native
    assert native or option(server, "--dtype") == "float32"


def test_vllm_knows_the_variables_that_are_set(tmp_path: Path, servers_for: Callable[..., list[Server]]) -> None:
    known = pytest.importorskip("vllm.envs").environment_variables
    (server,) = servers_for(model_in(tmp_path), device="cpu")
    assert {name for name in server.environment if name.startswith("VLLM_")} <= set(known)


def test_the_date_of_gpt_oss_is_pinned_and_cached_tokens_are_counted(
    tmp_path: Path, servers_for: Callable[..., list[Server]]
) -> None:
    (server,) = servers_for(model_in(tmp_path), device="cpu")
    assert server.environment["VLLM_SYSTEM_START_DATE"] == "2025-01-15"
    assert "--enable-prompt-tokens-details" in server.command
    (server,) = servers_for(model_in(tmp_path), device="cpu", system_date="2026-02-03")
    assert server.environment["VLLM_SYSTEM_START_DATE"] == "2026-02-03"


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
