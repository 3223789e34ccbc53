"""Attention over a tree on this device: python -m scripts.bench.gpu_check.kernels exact|parts [device=cpu]

exact   the kernel in bf16, in one call and in parts, against fp32 attention a chain at a time: output and gradients,
        for several groupings of heads
parts   what a layer's attention spends on gathering keys, the kernel, and adding up gradients; next to the same kernel
        on separate turns, and to FlexAttention, which gathers nothing
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import Field
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

import training.attention
from core.settings import Settings
from scripts.bench.benchmark import median
from scripts.bench.gpu import GpuSettings, full_row
from scripts.bench.gpu_check.figures import figure
from scripts.bench.synthetic_dialogues import SyntheticDialogue, training_layouts
from scripts.launch import clear_errors, read_settings
from training.attention import KERNELS, kernel_for, layout, tree_attention
from training.settings import Attention
from training.token_tree import TokenTree

HEAD = 128
"""Dimensions of a head, in all of the paper's models."""

GROUPINGS = ((32, 8), (32, 4), (8, 8))
"""Query and key heads: of Qwen3-4B, of Qwen3-30B-A3B, and without grouping."""

FARTHEST = 2e-2
"""Largest relative distance of a bf16 kernel from fp32."""

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class KernelSettings(Settings):
    """Settings of the kernel checks."""

    device: Literal["cuda", "cpu"] = Field(default="cuda", description="cpu only tests that the checks run")

    @property
    def scale(self) -> float:
        return 1.0 if self.device == "cuda" else 0.02

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.device == "cuda" else torch.float32


def exact(settings: KernelSettings) -> None:
    """Raises AssertionError if the kernel does not agree with fp32."""
    dialogue = SyntheticDialogue(turns=10, scale=0.1 * settings.scale, vocabulary=1000)
    (tree,) = training_layouts(dialogue, 32768)["tree"]
    whole = placed(tree, settings)
    for heads, kv_heads in GROUPINGS:
        for keys_at_once in (training.attention.KEYS_AT_ONCE, max(map(len, tree.paths()))):
            with _gathering(keys_at_once):
                place = placed(tree, settings)
            exact32 = random_tensors(tree.size, heads, kv_heads, torch.float32, settings)
            ours = tuple(tensor.detach().to(settings.dtype).requires_grad_() for tensor in exact32)
            with torch.no_grad():  # fp32 attention to the same numbers
                for tensor, rounded in zip(exact32, ours, strict=True):
                    tensor.copy_(rounded.float())
            output = attend(kernel_for("auto"), ours, place)
            expected = attend("sdpa", exact32, whole)
            upstream = torch.randn_like(expected)
            gradients = torch.autograd.grad(output, ours, upstream.to(output.dtype))
            pairs = zip(
                (output, *gradients), (expected, *torch.autograd.grad(expected, exact32, upstream)), strict=True
            )
            errors = [_distance(a, b) for a, b in pairs]
            name = f"exact: {heads}/{kv_heads} heads, {tree.size} tokens, {len(place['parts'])} parts"
            figure(name, dict(zip(("output", "dq", "dk", "dv"), (f"{error:.1e}" for error in errors), strict=True)))
            assert max(errors) < FARTHEST, f"{name}: the kernel does not agree with fp32"


@contextmanager
def _gathering(keys: int) -> Any:
    before = training.attention.KEYS_AT_ONCE
    training.attention.KEYS_AT_ONCE = keys
    try:
        yield
    finally:
        training.attention.KEYS_AT_ONCE = before


def _distance(ours: torch.Tensor, expected: torch.Tensor) -> float:
    return float((ours.detach().float() - expected.detach()).norm() / expected.detach().norm())


def parts(settings: KernelSettings) -> None:
    """Times in milliseconds, of one layer of Qwen3-4B."""
    trees = {f"{turns} turns": _dialogue(turns, settings) for turns in (10, 20)}
    trees["full row"] = full_row(GpuSettings(scale=settings.scale), 1000)
    for name, tree in trees.items():
        _attention(name, tree, settings)
    for number, row in enumerate(training_layouts(_ten(settings), 32768)["turns"]):
        tensors = random_tensors(row.size, 32, 8, settings.dtype, settings)
        spent = milliseconds(backward_of(kernel_for("auto"), tensors, placed(row, settings)), settings)
        figure(
            f"one layer's attention, 10 turns as separate ones, row {number}",
            {"tokens": row.size, "forward and backward ms": spent},
        )


def _attention(name: str, tree: TokenTree, settings: KernelSettings) -> None:
    kernel = kernel_for("auto")
    place, tensors = placed(tree, settings), random_tensors(tree.size, 32, 8, settings.dtype, settings)
    work = backward_of(kernel, tensors, place)
    both = milliseconds(work, settings)
    index = place["key_index"]
    keys = tensors[1].detach()[0].transpose(0, 1).contiguous()
    paths = torch.randn(len(index), 8, HEAD, device=settings.device).to(settings.dtype)
    total = torch.zeros(keys.shape, device=settings.device)
    figure(
        f"one layer's attention, {name}",
        {
            "tokens": tree.size,
            "keys": len(index),
            "chains": len(tree.starts),
            "parts": len(place["parts"]),
            "forward ms": milliseconds(lambda: attend(kernel, tensors, place), settings),
            "forward and backward ms": both,
            "of it gathers ms": round(2 * milliseconds(lambda: keys.index_select(0, index), settings), 3),
            "of it scatters ms": round(
                2 * milliseconds(lambda: total.index_add_(0, index, paths.float()), settings), 3
            ),
            "TFLOP/s": round(14e-9 * tree.pairs() * 32 * HEAD / both, 2),
            "peak GiB": peak(work, settings),
        },
    )
    _flex(name, tree, tensors, place, settings)


def _ten(settings: KernelSettings) -> SyntheticDialogue:
    return SyntheticDialogue(turns=10, scale=settings.scale, vocabulary=1000)


def _dialogue(turns: int, settings: KernelSettings) -> TokenTree:
    (tree,) = training_layouts(SyntheticDialogue(turns, settings.scale, 1000), 10**9)["tree"]
    return tree


def _flex(name: str, tree: TokenTree, tensors: Tensors, place: dict[str, Any], settings: KernelSettings) -> None:
    """FlexAttention with the mask of ancestors: block sparsity instead of gathered keys. It has no backward pass on a
    CPU."""
    owner = torch.zeros(tree.size, dtype=torch.int32)
    for number, start in enumerate(tree.starts):
        owner[start:] = number
    sees = torch.zeros(len(tree.starts), tree.size, dtype=torch.bool)
    for number, path in enumerate(tree.paths()):
        sees[number, path] = True
    owner, sees = owner.to(settings.device), sees.to(settings.device)

    def visible(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return (query >= key) & sees[owner[query], key]

    mask = create_block_mask(visible, 1, 1, tree.size, tree.size, device=settings.device)
    compiled = torch.compile(flex_attention, dynamic=True) if settings.device == "cuda" else flex_attention

    def run(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        output = compiled(query, key, value, block_mask=mask, enable_gqa=True)
        assert isinstance(output, torch.Tensor)
        return output

    ours = attend(kernel_for("auto"), tensors, place).detach()
    query, key, value = (tensor.detach() for tensor in tensors)
    with torch.no_grad():
        figures: dict[str, Any] = {
            "distance from ours": f"{_distance(run(query, key, value).transpose(1, 2), ours.float()):.1e}"
        }
        figures["forward ms"] = milliseconds(lambda: run(query, key, value), settings)
    if settings.device == "cuda":
        upstream = torch.randn_like(tensors[0])
        figures["forward and backward ms"] = milliseconds(
            lambda: torch.autograd.grad(run(*tensors), tensors, upstream), settings
        )
    figure(f"FlexAttention, {name}", figures)


def placed(tree: TokenTree, settings: KernelSettings) -> dict[str, Any]:
    """The arguments of attention on the device."""
    arguments = layout(tree)
    del arguments["position_ids"]
    return {key: value.to(settings.device) if torch.is_tensor(value) else value for key, value in arguments.items()}


def random_tensors(tokens: int, heads: int, kv_heads: int, dtype: torch.dtype, settings: KernelSettings) -> Tensors:
    """Queries, keys and values as transformers gives them: [1, heads, tokens, HEAD]."""
    torch.manual_seed(0)
    shapes = [(1, count, tokens, HEAD) for count in (heads, kv_heads, kv_heads)]
    query, key, value = (torch.randn(shape, device=settings.device).to(dtype).requires_grad_() for shape in shapes)
    return query, key, value


def attend(kernel: Attention, tensors: Any, place: dict[str, Any]) -> torch.Tensor:
    """[1, tokens, heads, HEAD]."""
    attention = tree_attention(KERNELS[kernel])
    output, _ = attention(torch.nn.Identity(), *tensors, None, HEAD**-0.5, **place)
    return output


def backward_of(kernel: Attention, tensors: Tensors, place: dict[str, Any]) -> Callable[[], Any]:
    """A forward and backward pass."""
    upstream = torch.randn_like(attend(kernel, tensors, place))
    return lambda: torch.autograd.grad(attend(kernel, tensors, place), tensors, upstream)


def milliseconds(work: Callable[[], Any], settings: KernelSettings, repeats: int = 5) -> float:
    """The median of some runs, after one to warm up."""

    def once() -> float:
        synchronize(settings)
        began = time.perf_counter()
        work()
        synchronize(settings)
        return 1e3 * (time.perf_counter() - began)

    once()
    return round(median(once, repeats), 3)


def synchronize(settings: KernelSettings) -> None:
    if settings.device == "cuda":
        torch.cuda.synchronize()


def peak(work: Callable[[], Any], settings: KernelSettings) -> float | None:
    """The device memory that it takes at most, in GiB; None on a CPU."""
    if settings.device == "cpu":
        return None
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return round((torch.cuda.max_memory_allocated() - before) / 2**30, 2)


CHECKS = {"exact": exact, "parts": parts}

if __name__ == "__main__":
    with clear_errors():
        CHECKS[sys.argv[1]](read_settings(sys.argv[2:], KernelSettings))
