"""Tree training against training every user turn separately: the same loss, and the same gradient of every
parameter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import torch
from accelerate.utils import send_to_device
from transformers import PreTrainedModel

import training.attention.gathered
import training.loss
from core.settings import UserError
from scripts.bench.exactness import largest_relative_error, reference_gradients, tree_gradients
from tests.helpers.paths import ROOT
from tests.training.helpers.random_trees import dense, moe, served
from training.attention.choice import check_attention, implementation
from training.attention.gathered import Part, layout, split
from training.attention.kept import checkpointing
from training.dataset import EMPTY_TREE
from training.fused import check_fused, fuse
from training.render import Sample
from training.settings import Attention, FusedKernels
from training.token_tree import TokenTree, build_trees, merge, single_chain
from training.trainer import collate

LOSS, GRADIENT = 1e-6, 1e-5
Build = Callable[[str], PreTrainedModel]


def check(build: Build, samples: list[Sample], rows: list[list[TokenTree]]) -> None:
    count = sum(len(sample.trained) for sample in samples)
    loss, gradients = reference_gradients(build("sdpa"), samples, count)
    ours, our_gradients = tree_gradients(build(implementation("sdpa")), rows, count)
    assert ours == pytest.approx(loss, rel=LOSS)
    assert largest_relative_error(our_gradients, gradients) < GRADIENT


@pytest.mark.parametrize("build", [dense, moe])
@pytest.mark.parametrize("turns", [1, 2, 5, 20])
def test_a_tree_gives_the_gradients_of_its_samples(build: Build, turns: int) -> None:
    check(build, samples := served(turns), [[merge(samples)]])


@pytest.mark.parametrize("build", [dense, moe])
def test_packed_trees_do_not_see_each_other(build: Build) -> None:
    """Two rows, one of them with a single-turn tree between longer ones, and the empty row of an idle rank."""
    groups = [served(turns, seed) for seed, turns in enumerate((4, 1, 7, 3))]
    merged = [merge(group) for group in groups]
    check(build, [sample for group in groups for sample in group], [merged[:3], merged[3:], [EMPTY_TREE]])


def test_a_tree_in_pieces_gives_the_same() -> None:
    samples = served(8)
    pieces = build_trees(samples, 350)
    assert len(pieces) > 1
    check(dense, samples, [[piece] for piece in pieces])
    check(dense, samples, [[single_chain(sample)] for sample in samples])


@pytest.mark.parametrize("build", [dense, moe])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_attention_to_a_few_chains_at_a_time_gives_the_same(
    build: Build, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest path is longer than the keys that are gathered at a time."""
    samples = served(8)
    row = merge(samples)
    longest = max(map(len, row.paths()))
    monkeypatch.setattr(training.attention.gathered, "KEYS_AT_ONCE", round(0.9 * longest))
    assert len(layout(row)["parts"]) > 2
    count = sum(len(sample.trained) for sample in samples)
    loss, gradients = reference_gradients(build("sdpa"), samples, count)
    model = build(implementation("sdpa")).train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    ours, our_gradients = tree_gradients(model, [[row]], count)
    assert ours == pytest.approx(loss, rel=LOSS)
    assert largest_relative_error(our_gradients, gradients) < GRADIENT


@pytest.mark.parametrize(
    ("limit", "parts"),
    [
        (100, [(0, 4)]),
        (60, [(0, 3), (3, 4)]),
        (35, [(0, 2), (2, 3), (3, 4)]),
        (1, [(0, 1), (1, 2), (2, 3), (3, 4)]),
    ],
)
def test_parts_have_all_chains_and_at_most_so_many_keys(
    limit: int, parts: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths of 10, 20, 30 and 40 keys."""
    monkeypatch.setattr(training.attention.gathered, "KEYS_AT_ONCE", limit)
    bounds_q, bounds_k = [0, 1, 3, 6, 10], [0, 10, 30, 60, 100]
    assert split(bounds_q, bounds_k) == [
        Part(slice(bounds_q[a], bounds_q[b]), slice(bounds_k[a], bounds_k[b]), slice(a, b + 1)) for a, b in parts
    ]


@pytest.mark.parametrize("build", [dense, moe])
def test_checkpointed_layers_and_logits_in_blocks_give_the_same(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = served(5)
    count = sum(len(sample.trained) for sample in samples)
    loss, gradients = tree_gradients(build(implementation("sdpa")), [[merge(samples)]], count)
    monkeypatch.setattr(training.loss, "BLOCK", 7 * 320)
    model = build(implementation("sdpa")).train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    with torch.autograd.graph.save_on_cpu():
        ours, our_gradients = tree_gradients(model, [[merge(samples)]], count)
    assert ours == pytest.approx(loss, rel=LOSS)
    assert largest_relative_error(our_gradients, gradients) < GRADIENT


@pytest.mark.parametrize("positions", [True, False])
def test_transformers_own_attention_fails_on_a_tree(positions: bool) -> None:
    """With or without our positions it treats the row as one text or several, and lets branches see each other."""
    samples = served(5)
    tree = merge(samples)
    count = len(tree.trained)
    loss, gradients = reference_gradients(dense("sdpa"), samples, count)
    model = dense("sdpa")
    inputs = collate([[tree]])
    position_ids = {"position_ids": inputs["position_ids"]} if positions else {}
    logits = model(inputs["input_ids"], **position_ids).logits[0, inputs["sources"]]
    wrong = torch.nn.functional.cross_entropy(logits, inputs["labels"][0])
    wrong.backward()
    assert abs(wrong.item() - loss) > 100 * LOSS * loss
    theirs = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert largest_relative_error(theirs, gradients) > 1e-2


@pytest.mark.parametrize("attention", get_args(Attention))
def test_every_kernel_builds_a_model(attention: Attention) -> None:
    """transformers reserves some attention names for its own kernels."""
    assert dense(implementation(attention)).config._attn_implementation == implementation(attention)


def launch(script: str, argument: Path, processes: int) -> None:
    environment = {"OMP_NUM_THREADS": "1", "DS_BUILD_OPS": "0", "DS_ACCELERATOR": "cpu"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [*torchrun, str(ROOT / "tests/training/helpers" / script), str(argument)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_rotary_frequencies_are_fp32_under_zero3_in_bf16(tmp_path: Path) -> None:
    """As when the model is served; DeepSpeed would create the frequencies in bf16."""
    plain = dense("sdpa")
    plain.save_pretrained(tmp_path)
    launch("zero3_loading.py", tmp_path, processes=1)
    assert torch.equal(torch.load(tmp_path / "frequencies.pt"), plain.model.rotary_emb.inv_freq)


@pytest.mark.slow
def test_two_zero3_processes_give_the_gradients_of_single_samples(tmp_path: Path) -> None:
    """Dense, and MoE with kept attention: each rank trains half of the trees; every parameter's gradient is gathered
    and compared."""
    launch("zero3_gradients.py", tmp_path, processes=2)
    for build in (dense, moe):
        samples = [sample for seed in range(4) for sample in served(3 + seed, seed)]
        count = sum(len(sample.trained) for sample in samples)
        loss, gradients = reference_gradients(build("sdpa"), samples, count)
        gathered = torch.load(tmp_path / f"{build.__name__}.pt")
        assert gathered["loss"] == pytest.approx(loss, rel=LOSS)
        assert largest_relative_error(gathered["gradients"], gradients) < GRADIENT


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("fused", get_args(FusedKernels))
@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("attention", [name for name in get_args(Attention) if name != "sdpa"])
def test_bf16_kernels_agree_with_fp32(attention: Attention, keeps: bool, fused: FusedKernels) -> None:
    """On a GPU: the gradient in bf16 has the direction of the fp32 gradient."""
    try:
        check_attention(attention)
        check_fused(fused)
    except UserError as error:
        pytest.skip(str(error))
    if keeps and attention == "flex":
        pytest.skip("the settings refuse it")
    samples = served(10)
    count = sum(len(sample.trained) for sample in samples)
    _, expected = reference_gradients(dense("sdpa"), samples, count)
    model = fuse(dense(implementation(attention)), fused).to("cuda", torch.bfloat16).train()
    model.gradient_checkpointing_enable(checkpointing(keeps))
    inputs = send_to_device(collate([[merge(samples)]], attention), torch.device("cuda"))
    training.loss.learn_trees(model)(**inputs)["loss"].backward()
    fuse(model, "none")
    ours = torch.cat([p.grad.float().cpu().flatten() for p in model.parameters()])
    theirs = torch.cat([expected[name].flatten() for name, _ in model.named_parameters()])
    assert torch.cosine_similarity(ours, theirs, dim=0) > 0.9995
