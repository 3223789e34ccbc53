"""Engines of several models in turn, with real processes in place of vLLM: which run at the same time, and that none
stays."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.servers import Server, Wait, free_ports, launched, probe
from core.settings import UserError
from evaluation import engines
from evaluation.engines import served_in_turn, start_early
from evaluation.targets import EvaluateSettings, Target
from tests.evaluation.test_targets import settings

GIB = 2**30
ENGINE = textwrap.dedent("""
    import http.server, json, os, sys
    port, name, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    if os.path.exists(f"{folder}/{name}-breaks"):
        sys.exit("RuntimeError: no weights")
    class Models(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"data": [{"id": name}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
    open(f"{folder}/{name}-pid", "w").write(str(os.getpid()))
    http.server.HTTPServer(("127.0.0.1", port), Models).serve_forever()
""")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where engines leave their process ids; `starting` starts them."""

    @contextmanager
    def starting(model: Path, engine: Any, logs: Path, name: str, skip_gpus: int) -> Iterator[Wait]:
        (tmp_path / f"{name}-skips").write_text(str(skip_gpus))
        (port,) = free_ports(1)
        command = (sys.executable, "-c", ENGINE, str(port), name, str(tmp_path))
        with launched([Server(command, port, logs / f"{name}.log")], name, 30, quiet=True) as wait:
            yield wait

    monkeypatch.setattr(engines, "starting", starting)
    return tmp_path


def targets(folder: Path, *names: str) -> list[Target]:
    return [Target(name, path=folder) for name in names]


def started(folder: Path, name: str, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not (folder / f"{name}-pid").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    return (folder / f"{name}-pid").is_file()


def running(folder: Path, name: str) -> bool:
    file = folder / f"{name}-pid"
    return file.is_file() and Path(f"/proc/{file.read_text()}").is_dir()


def test_the_next_engine_starts_while_the_last_one_is_evaluated(folder: Path) -> None:
    with served_in_turn(targets(folder, "a", "b", "c"), settings(folder, "start_next=true"), folder) as turns:
        seen = []
        for target, endpoint in turns:
            (name,) = probe(endpoint.base_url)
            following = {"a": "b", "b": "c"}.get(name)
            assert following is None or started(folder, following), "in the meantime, without being asked for"
            seen.append((target.label, name, [other for other in "abc" if running(folder, other)]))
        assert not any(running(folder, name) for name in "abc")
    assert seen == [("a", "a", ["a", "b"]), ("b", "b", ["b", "c"]), ("c", "c", ["c"])]


def test_one_engine_at_a_time(folder: Path) -> None:
    with served_in_turn(targets(folder, "a", "b"), settings(folder, "start_next=false"), folder) as turns:
        next(turns)
        assert not started(folder, "b", seconds=1)
        _, endpoint = next(turns)
        assert (probe(endpoint.base_url), running(folder, "a")) == (("b",), False)


@pytest.mark.parametrize(("first", "second"), [(1, 4), (4, 1), (2, 2)])
def test_two_engines_of_different_sizes_have_gpus_of_their_own(
    first: int, second: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of six GPUs, the first engine takes the first ones."""
    sizes = {"a": first, "b": second}
    monkeypatch.setattr(engines, "usable_gpus", lambda _: 6)
    monkeypatch.setattr(engines, "_gpus_needed", lambda _, model: sizes[model.name])
    two = [Target(name, path=folder / name) for name in sizes]
    assert start_early(*two, settings(folder))
    with served_in_turn(two, settings(folder), folder) as turns:
        next(turns)
        assert started(folder, "b")
    assert int((folder / "a-skips").read_text()) == 0
    assert int((folder / "b-skips").read_text()) == 6 - second >= first


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError])
def test_both_engines_end_with_the_evaluation(error: type[BaseException], folder: Path) -> None:
    def evaluate() -> None:
        with served_in_turn(targets(folder, "a", "b"), settings(folder, "start_next=true"), folder) as turns:
            for _ in turns:
                assert started(folder, "b")
                raise error("in the evaluation of a")

    with pytest.raises(error):
        evaluate()
    assert not any(running(folder, name) for name in "ab")


def test_an_engine_that_cannot_start_is_an_error_in_its_turn(folder: Path) -> None:
    (folder / "b-breaks").touch()
    with served_in_turn(targets(folder, "a", "b"), settings(folder, "start_next=true"), folder) as turns:
        _, endpoint = next(turns)
        time.sleep(1)
        assert probe(endpoint.base_url) == ("a",), "its evaluation goes on"
        with pytest.raises(UserError, match=r"b ended with code 1; .*\n.*no weights"):
            next(turns)


@pytest.mark.parametrize(
    ("gigabytes", "cores", "gpus", "overrides", "expected"),
    [
        (9.1, 3, 0, (), True),  # two caches of 2 GiB, 3 for an engine, 2 to spare, and twice 1/64 of weights
        (8.9, 3, 0, (), False),
        (9.1, 2, 0, (), False),
        (None, 3, 0, (), False),
        (None, 3, 0, ("start_next=true",), True),
        (99, 3, 0, ("start_next=false",), False),
        (99, 3, 0, ("serving.port=8123",), False),
        (16.1, 3, 0, ("serving.replicas=2",), True),
        (15.9, 3, 0, ("serving.replicas=2",), False),
        (99, 3, 1, (), False),
        (0, 3, 2, (), False),  # one engine takes them all
        (0, 3, 2, ("serving.data_parallel=1",), True),
        (99, 3, 3, ("serving.tensor_parallel=2", "serving.data_parallel=1"), False),
        (99, 3, 4, ("serving.tensor_parallel=2", "serving.data_parallel=1"), True),
    ],
)
def test_two_engines_at_once_only_where_both_fit(
    gigabytes: float | None,
    cores: int,
    gpus: int,
    overrides: tuple[str, ...],
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "available_memory", lambda: None if gigabytes is None else int(gigabytes * GIB))
    monkeypatch.setattr(engines, "physical_cores", lambda: list(range(cores)))
    monkeypatch.setattr(engines, "usable_gpus", lambda _: gpus)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with (tmp_path / "model.safetensors").open("r+b") as weights:
        weights.truncate(GIB // 64)
    current, following = targets(tmp_path, "a", "b")
    chosen: EvaluateSettings = settings(tmp_path, *overrides)
    assert start_early(current, following, chosen) is expected
    served = Target("served", base_url="http://127.0.0.1:9/v1", served_model="m")
    assert not start_early(current, served, chosen), "there is nothing to start"
    assert start_early(served, following, chosen) is (chosen.start_next is not False), "it is alone"


def test_two_engines_that_cannot_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "usable_gpus", lambda _: 1)
    with pytest.raises(UserError, match=r"gpu_memory_share=0\.9; expected at most 0\.5"):
        served_in_turn([], settings(tmp_path, "start_next=true"), tmp_path).__enter__()
    with pytest.raises(UserError, match=r"serving\.port=8123; expected 0"):
        served_in_turn(
            [], settings(tmp_path, "start_next=true", "serving.port=8123", "serving.gpu_memory_share=0.4"), tmp_path
        ).__enter__()
    with served_in_turn([], settings(tmp_path, "start_next=true", "serving.gpu_memory_share=0.45"), tmp_path) as turns:
        assert list(turns) == []
