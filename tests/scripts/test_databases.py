"""make databases, and make generate from what it made; kill -9 loses nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import hydra
import pytest

from core.journal import read_jsonl
from core.manifest import read_manifest
from core.settings import UserError
from generation.seeds.synthesised import DatabaseRecord
from scripts import databases, generate
from scripts.launch import CONF

pytestmark = pytest.mark.usefixtures("no_commit")


def run(stage: str, *overrides: str) -> None:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = hydra.compose(stage, list(overrides))
    (databases if stage == "databases" else generate).main(config)


def test_databases_become_seeds_of_dialogues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("databases", "n=4", "bfcl=null", f"outputs={tmp_path}", "held_out.share=0.5")
    directory = (tmp_path / "databases" / "latest").resolve()
    results = read_manifest(directory).results
    shown = capsys.readouterr().out
    assert f"make generate domains=synthesised domains.run={directory}" in shown.replace("\n", "")
    assert results["accepted"] == 4
    assert "the bundled library" in results["compared_with"]
    records = list(read_jsonl(directory / "databases.jsonl", DatabaseRecord))
    train = [record.name for record in records if record.part == "train"]
    assert 0 < len(train) < 4
    common = ("domains=synthesised", "pipeline=user_oriented_exec", f"outputs={tmp_path}", "n=4", "report=null")
    run("generate", *common)
    generated = (tmp_path / "generate" / "latest").resolve()
    assert {line.split('"')[3] for line in (generated / "toolsets.jsonl").read_text().splitlines()} == set(train)
    assert (generated / "user_oriented_exec" / "dialogues.jsonl").read_text().count("\n") >= 1
    with pytest.raises(UserError, match="held-out databases are for evaluation"):
        run("generate", *common, "domains.held_out=true")


def test_a_run_without_any_database_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none of the 1 databases was accepted"):
        run("databases", "n=1", "bfcl=null", f"outputs={tmp_path}", "limits.likeness=0.001")


def test_other_schemas_to_compare_with_make_another_run(tmp_path: Path) -> None:
    def runs(*overrides: str) -> int:
        with pytest.raises(UserError, match="none of the 1"):
            run("databases", "n=1", "bfcl=null", f"outputs={tmp_path}", "limits.likeness=0.001", *overrides)
        return len([path for path in (tmp_path / "databases").iterdir() if not path.is_symlink()])

    spider = tmp_path / "spider" / "tables.json"
    spider.parent.mkdir()
    spider.write_text("[]")
    assert runs() == runs(f"spider={spider.parent}") == 1, "nothing more to compare with"
    schema = {"db_id": "a", "table_names_original": ["boats"], "column_names_original": [[-1, "*"], [0, "Boat_Name"]]}
    spider.write_text(json.dumps([schema]))
    assert runs(f"spider={spider.parent}") == runs(f"spider={spider.parent}") == 2


@pytest.mark.slow
def test_a_killed_run_is_resumed(tmp_path: Path) -> None:
    words = ["n=14", "bfcl=null", "concurrency=1", f"outputs={tmp_path}"]
    command = [sys.executable, "-m", "scripts.databases", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    journal = None
    while not journal or journal.read_bytes().count(b"\n") < 3:
        time.sleep(0.05)
        assert process.poll() is None, "the run ended before it could be killed"
        journal = next(tmp_path.glob("databases/*/journal.jsonl"), None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = journal.read_bytes()
    whole = before[: before.rfind(b"\n") + 1]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "resuming" in shown
    assert journal.read_bytes().startswith(whole)
    assert read_manifest(journal.parent).status == "finished"
    other = tmp_path / "other"
    subprocess.run([*command[:-1], f"outputs={other}"], check=True, stdout=subprocess.DEVNULL)
    fresh = (other / "databases" / "latest").resolve()
    for name in ("databases.jsonl", "rejected.jsonl"):
        assert (journal.parent / name).read_bytes() == (fresh / name).read_bytes()
