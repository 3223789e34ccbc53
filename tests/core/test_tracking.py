"""The tracker with the real wandb: the file of an offline run is read back."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from wandb.proto import wandb_internal_pb2

from core.settings import UserError
from core.tracking import Tracker, TrackingSettings


def records(run: Path) -> list[wandb_internal_pb2.Record]:
    """Read a .wandb file, a LevelDB log: 7-byte header, then chunks (checksum 4, length 2, kind 1) in 32 KiB blocks."""
    data = next(run.glob("*.wandb")).read_bytes()
    messages, parts, at = [], b"", 7
    while at + 7 <= len(data):
        if (room := 32768 - at % 32768) < 7:
            at += room
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a complete record, or its last part
            messages.append(wandb_internal_pb2.Record.FromString(parts))
            parts = b""
    return messages


def settled(run: Path) -> list[wandb_internal_pb2.Record]:
    """Wait for the file: wandb's own process writes it, on a busy machine a moment after the run has ended."""
    deadline, before = time.monotonic() + 20, -1
    while time.monotonic() < deadline:
        written = records(run)
        if len(written) == before and any(record.HasField("run") for record in written):
            break
        before = len(written)
        time.sleep(0.3)
    return records(run)


def test_an_offline_run_keeps_everything_under_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, outputs = tmp_path / "home", tmp_path / "outputs"
    home.mkdir()
    for name in (
        "WANDB_API_KEY",
        "WANDB_CACHE_DIR",
        "WANDB_DATA_DIR",
        "WANDB_DISABLE_WEAVE",
        "XDG_CACHE_HOME",
        "XDG_DATA_HOME",
    ):
        monkeypatch.setenv(name, "")  # so that monkeypatch removes what the tracker sets
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setitem(sys.modules, "openai", ModuleType("openai"))  # its presence makes wandb print advertisements
    with Tracker(TrackingSettings(), outputs, "train", "r1", group="pipeline-1", config={"lr": 0.5}) as tracker:
        tracker.log({"loss": 2.0}, step=1)
        tracker.log({"loss": 1.0}, step=2)
        tracker.table("dialogues", [{"id": 1, "tools": ["a", "b"]}, {"id": 2, "note": "late"}])
        tracker.summary({"best": 1.0})
        (tmp_path / "index.html").write_text("a report")
        tracker.artifact("report", tmp_path / "index.html")

    (run,) = (outputs / "wandb").glob("offline-run-*")
    written = settled(run)
    (header,) = (record.run for record in written if record.HasField("run"))
    assert (header.run_id, header.run_group, header.job_type) == ("train-r1", "pipeline-1", "train")
    assert {item.key: item.value_json for item in header.config.update}["lr"] == "0.5"
    history = [
        {(item.key or ".".join(item.nested_key)): json.loads(item.value_json) for item in record.history.item}
        for record in written
        if record.HasField("history")
    ]
    assert [(row["_step"], row["loss"]) for row in history if "loss" in row] == [(1, 2.0), (2, 1.0)]
    (table,) = run.glob("files/media/table/*.json")
    content = json.loads(table.read_text())
    assert content["columns"] == ["id", "tools", "note"]
    assert content["data"] == [[1, '["a", "b"]', None], [2, None, "late"]]
    artifacts = [r.artifact for r in written if r.HasField("artifact")]
    artifacts += [r.request.log_artifact.artifact for r in written if r.request.HasField("log_artifact")]
    (kept,) = [artifact for artifact in artifacts if artifact.type == "report"]
    assert [entry.path for entry in kept.manifest.contents] == ["index.html"]
    assert list(home.rglob("*")) == []
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [f"W&B offline: {run} (upload: wandb sync {run})"]


def test_disabled_tracking_does_not_import_wandb(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from core.tracking import *\n"
        "tracker = Tracker(TrackingSettings(mode='disabled'), pathlib.Path('outputs'), 's', 'r', 'g')\n"
        "tracker.log({'a': 1}); tracker.table('t', [{'a': 1}]); tracker.summary({'a': 1}); tracker.finish()\n"
        "print('wandb' in sys.modules, list(pathlib.Path().iterdir()))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "False []\n"


def test_online_without_a_key_names_the_alternatives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(UserError, match="set WANDB_API_KEY or run `wandb login`"):
        Tracker(TrackingSettings(mode="online"), tmp_path, "train", "r1", group="g")


def test_an_error_of_wandb_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"W&B cannot start with tracking\.mode=offline"):
        Tracker(TrackingSettings(project="a/b"), tmp_path, "train", "r1", group="g")
