"""make gpu-check: every step on a CPU, and what a summary says of steps that fail, hang or do not fit."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from core.settings import UserError
from scripts.bench.gpu_check.figures import figure, read_figures
from scripts.bench.gpu_check.run import GpuCheckSettings, Step, chosen, main, run, steps, summary_lines


@pytest.mark.slow
def test_all_steps_run_on_a_cpu(tmp_path: Path) -> None:
    settings = GpuCheckSettings(device="cpu", outputs=tmp_path)
    done = main(settings, Console(quiet=True))
    assert [each.step for each in done] == [step.name for step in steps(settings, tmp_path)]
    assert {each.outcome for each in done} == {"passed"}
    summary = json.loads((tmp_path / "gpu-check" / "summary.json").read_text())
    figures = {name: value for step in summary["steps"] for name, value in step["figures"].items()}
    for model in ("dense", "moe"):
        losses = figures[f"its checkpoint in plain transformers, {model}"]
        assert losses["trained loss"] < losses["untrained loss"]
    exact = [value for name, value in figures.items() if name.startswith("exact:")]
    assert len(exact) == 6
    assert all(float(error) < 1e-5 for errors in exact for error in errors.values())
    assert any(name.startswith("FlexAttention") for name in figures)
    assert (tmp_path / "gpu-check" / "qwen3_4b" / "bench" / "gpu.json").is_file()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_how_to_try_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="device=cpu tests that it runs"):
        main(GpuCheckSettings(outputs=tmp_path), Console(quiet=True))


def test_steps_are_chosen_by_name(tmp_path: Path) -> None:
    found = steps(GpuCheckSettings(), tmp_path)
    assert [step.name for step in chosen(GpuCheckSettings(only=("parts", "exact")), found)] == ["exact", "parts"]
    with pytest.raises(UserError, match="only=exakt: did you mean 'exact'"):
        chosen(GpuCheckSettings(only=("exakt",)), found)


def python(code: str, limit_s: float) -> Step:
    return Step("step", (sys.executable, "-c", code), limit_s)


def test_a_step_that_fails_hangs_or_does_not_fit_keeps_its_figures(tmp_path: Path) -> None:
    tell = "from scripts.bench.gpu_check.figures import figure; figure('a', {'ms': 1.5});"
    log = tmp_path / "log"
    passed = run(python(tell, 60), log, left_s=60)
    assert (passed.outcome, passed.figures) == ("passed", {"a": {"ms": 1.5}})
    failed = run(python(f"{tell} 1 / 0", 60), log, left_s=60)
    assert (failed.outcome, failed.figures) == ("failed", {"a": {"ms": 1.5}})
    assert "ZeroDivisionError" in log.read_text()
    began = time.monotonic()
    stopped = run(python(f"{tell} import time; time.sleep(600)", 15), log, left_s=60)
    assert (stopped.outcome, stopped.figures) == ("stopped", {"a": {"ms": 1.5}})
    assert time.monotonic() - began < 60
    left_out = run(python(tell, 600), log, left_s=199)
    assert (left_out.outcome, left_out.seconds, left_out.figures) == ("left out", 0, {})
    lines = list(summary_lines({"device": "x", "torch": "2"}, [passed, left_out]))
    assert lines == [
        "device x, torch 2",
        f"passed   step: {passed.seconds:g} s",
        "         a: ms 1.5",
        "left out step: 0 s",
    ]


def test_figures_are_read_among_other_lines(capsys: pytest.CaptureFixture[str]) -> None:
    figure("speed", {"ms": 2.0})
    print("figurehead")
    figure("note", "none")
    assert read_figures(capsys.readouterr().out) == {"speed": {"ms": 2.0}, "note": "none"}
