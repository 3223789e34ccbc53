"""The benchmarks of packing and tree training at their smallest."""

from __future__ import annotations

import random
import statistics
from pathlib import Path

import pytest
import torch

from core.settings import UserError
from scripts.bench import gpu, packing, synthetic_dialogues, training_step, tree
from tests.scripts.helpers.bench_runs import published


def test_packing_runs(tmp_path: Path) -> None:
    settings = packing.PackingSettings(outputs=tmp_path, items=400, trl_items=100, timed_items=1000, repeats=1)
    content = published(packing.measure(settings), tmp_path)
    metrics = {metric["name"]: metric["value"] for metric in content["metrics"]}
    synthetic = packing.trees(settings, 400)
    rows = 400 / metrics["rows, one tree each over packed"]
    assert metrics["fill"] == pytest.approx(sum(tokens for tokens, _ in synthetic) / (rows * settings.capacity))
    assert 0 <= metrics["time spent waiting for other ranks"] < content["notes"]["waiting without balancing"]


def test_synthetic_lengths_follow_table_1() -> None:
    draw = random.Random(0)
    drawn = [packing.turns(draw) for _ in range(60_000)]
    weights = [min(samples, 22_930) for _, _, samples in packing.TABLE_1.values()]
    pairs = zip(weights, packing.TABLE_1.values(), strict=True)
    assert statistics.fmean(drawn) == pytest.approx(sum(w * mean for w, (mean, _, _) in pairs) / sum(weights), rel=0.03)
    assert 300 < max(drawn) < 1500


def test_a_synthetic_tree_by_hand() -> None:
    # 14 turns are two requests of 7; each has 695 tokens on the trunk and 1695 in its branch.
    tokens, pairs = packing.tree(14, prefix=4000, capacity=32768)
    assert tokens == 4000 + 2 * (695 + 1695)
    trunk = sum(range(1, 4000 + 2 * 695 + 1))
    branches = sum(start + depth for start in (4050, 4745) for depth in range(1, 1695 + 1))
    assert pairs == trunk + branches
    assert packing.tree(10_000, prefix=4000, capacity=32768)[0] <= 32768


def test_a_synthetic_dialogue_by_hand() -> None:
    """Three turns of 2, 3 and 2 steps: the trunk has 60 tokens and the answers of each, a branch also the reasoning."""
    dialogue = synthetic_dialogues.SyntheticDialogue(3, scale=1.0, vocabulary=500)
    layouts = synthetic_dialogues.training_layouts(dialogue, row_tokens=20_000)
    two, three = 60 + 150 + 120, 2 * (60 + 150) + 120
    marks = 2 + 3  # one on the trunk for every step of a past turn; the branch has its own
    trunk = 4000 + (60 + two) + (60 + three) + marks
    branches = [steps * 300 + text + 2 * steps for steps, text in ((2, two), (3, three), (2, two))]
    # The first mark of each turn is the same in branch and trunk.
    assert synthetic_dialogues.count_tokens(layouts["tree"]) == trunk + 60 + sum(branches) - 2
    assert synthetic_dialogues.count_trained(layouts["tree"]) == 7 * 300 + 4 * 60 + 3 * 120
    assert (
        synthetic_dialogues.count_trained(layouts["turns"])
        == synthetic_dialogues.count_trained(layouts["keep_all"])
        == 7 * 300 + 4 * 60 + 3 * 120
    )
    assert synthetic_dialogues.count_tokens(layouts["keep_all"]) == 4000 + 3 * 60 + sum(branches)
    assert all(row.size <= 20_000 for row in layouts["turns"])


def test_tree_and_gpu_benchmarks_run(tmp_path: Path) -> None:
    short = tree.TreeSettings(outputs=tmp_path, turns=(1, 2), scale=0.01, repeats=1)
    content = published(tree.measure(short), tmp_path)
    assert all(metric["met"] for metric in content["metrics"] if "error" in metric["name"])
    assert len(content["metrics"]) == 2 + 2 * 2 * 2


def test_the_gpu_benchmark_and_its_variants_run(tmp_path: Path) -> None:
    variants = ("keep_attention", "row_65536", "keep_attention+row_65536", "liger", "flex")
    small = training_step.GpuSettings(
        outputs=tmp_path, device="cpu", turns=2, scale=0.01, repeats=1, shrink=64, variants=variants
    )
    content = published(gpu.measure(small), tmp_path)
    cosines = [metric["value"] for metric in content["metrics"] if "cosine" in metric["name"]]
    assert len(cosines) == 2 * 2
    assert min(cosines) > 0.99
    for model in small.models:
        lines = {line["variant"]: line for line in content["lines"] if line["model"] == model}
        assert list(lines) == ["baseline", *variants]
        for name in ("baseline", "keep_attention"):
            assert lines[name]["tokens"] <= 327
            assert lines[name]["cosine"] == 1
        for name in variants[1:3]:
            assert 327 < lines[name]["tokens"] <= 655
            assert 0.99 < lines[name]["cosine"] < 1
        for name in variants[:3]:
            speeds = [lines[variant]["trained tokens/s"] for variant in (name, "baseline")]
            assert lines[name]["over baseline"] == pytest.approx(speeds[0] / speeds[1], abs=1e-3)
        for name in ("liger", "flex"):
            assert "needs a CUDA GPU" in lines[name]["left out"]


def test_variants_change_what_they_say() -> None:
    baseline = training_step.Variant("torch_varlen")
    assert baseline.changed("fa4").attention == "torch_varlen_fa4"
    both = baseline.changed("liger+keep_attention")
    assert both == training_step.Variant("torch_varlen", "liger", keep_attention=True)
    assert {name for name in training_step.CHANGES if baseline.changed(name) == baseline} == set()
    with pytest.raises(UserError, match=r"variants=ligr: did you mean 'liger'"):
        gpu.measure(training_step.GpuSettings(device="cpu", variants=("ligr",)))
    with pytest.raises(UserError, match="keep_attention does not work with flex"):
        baseline.changed("keep_attention+flex").check()


def test_a_full_row_has_dialogues_for_its_length() -> None:
    settings = training_step.GpuSettings(scale=0.05)
    sizes = [training_step.full_row(settings, tokens, 1000).size for tokens in (32_768, 65_536)]
    assert 0.9 < sizes[0] / (0.05 * 32_768) <= 1
    assert 0.9 < sizes[1] / (0.05 * 65_536) <= 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_bench_gpu_names_what_it_needs() -> None:
    with pytest.raises(UserError, match="needs a CUDA GPU"):
        gpu.measure(training_step.GpuSettings())
