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
from accelerate.utils import send_to_device
from pydantic import Field

from core.settings import Settings
from scripts.bench.benchmark import median
from scripts.bench.gpu_check.figures import figure
from scripts.bench.synthetic_dialogues import SyntheticDialogue, training_layouts
from scripts.bench.training_step import GpuSettings, full_row
from scripts.launch import clear_errors, read_settings
from training.attention import gathered
from training.attention.choice import ATTEND, kernel_for, layout_for
from training.attention.flex import pairs_of_blocks
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
        for keys_at_once in (gathered.KEYS_AT_ONCE, max(map(len, tree.paths()))):
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
    before = gathered.KEYS_AT_ONCE
    gathered.KEYS_AT_ONCE = keys
    try:
        yield
    finally:
        gathered.KEYS_AT_ONCE = before


def _distance(ours: torch.Tensor, expected: torch.Tensor) -> float:
    return float((ours.detach().float() - expected.detach()).norm() / expected.detach().norm())


def parts(settings: KernelSettings) -> None:
    """Times in milliseconds, of one layer of Qwen3-4B."""
    trees = {f"{turns} turns": _dialogue(turns, settings) for turns in (10, 20)}
    trees["full row"] = full_row(GpuSettings(scale=settings.scale), 32_768, 1000)
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
    """FlexAttention, which gathers nothing. It has no backward pass on a CPU."""
    blocks = placed(tree, settings, "flex")
    ours = attend(kernel_for("auto"), tensors, place).detach()
    query, key, value = (tensor.detach() for tensor in tensors)

    def forward() -> torch.Tensor:
        return attend("flex", (query, key, value), blocks)

    with torch.no_grad():
        figures: dict[str, Any] = {
            "blocks computed %": round(100 * float((pairs_of_blocks(tree) > 0).mean()), 1),
            "distance from ours": f"{_distance(forward(), ours.float()):.1e}",
            "forward ms": milliseconds(forward, settings),
        }
    if settings.device == "cuda":
        figures["forward and backward ms"] = milliseconds(backward_of("flex", tensors, blocks), settings)
    figure(f"FlexAttention, {name}", figures)


def placed(tree: TokenTree, settings: KernelSettings, attention: Attention = "sdpa") -> dict[str, Any]:
    """The arguments of `attention` on the device."""
    arguments = layout_for(attention)(tree)
    del arguments["position_ids"]
    on_device: dict[str, Any] = send_to_device(arguments, torch.device(settings.device))
    return on_device


def random_tensors(tokens: int, heads: int, kv_heads: int, dtype: torch.dtype, settings: KernelSettings) -> Tensors:
    """Queries, keys and values as transformers gives them: [1, heads, tokens, HEAD]."""
    torch.manual_seed(0)
    shapes = [(1, count, tokens, HEAD) for count in (heads, kv_heads, kv_heads)]
    query, key, value = (torch.randn(shape, device=settings.device).to(dtype).requires_grad_() for shape in shapes)
    return query, key, value


def attend(attention: Attention, tensors: Any, place: dict[str, Any]) -> torch.Tensor:
    """[1, tokens, heads, HEAD]."""
    output, _ = ATTEND[attention](torch.nn.Identity(), *tensors, None, HEAD**-0.5, **place)
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
