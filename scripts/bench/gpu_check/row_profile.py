"""Where the time of a full row goes, without and with Liger's kernels: python -m scripts.bench.gpu_check.row_profile

Four layers of Qwen3-4B and its output layer, forward and backward with recomputation.
"""

from __future__ import annotations

import sys
from collections import defaultdict

from torch.profiler import ProfilerActivity, profile
from transformers import PreTrainedModel

from core.settings import UserError
from scripts.bench.gpu_check.figures import figure
from scripts.bench.gpu_check.kernels import KernelSettings, milliseconds, synchronize
from scripts.bench.model_shapes import shape_of
from scripts.bench.training_step import GpuSettings, Variant, build_model, full_row, run_rows
from scripts.launch import clear_errors, read_settings
from training.attention.choice import kernel_for
from training.fused import check_fused, fuse
from training.token_tree import TokenTree

LAYERS = 4
VARIANT = Variant(kernel_for("auto"))
KINDS = {
    "attention": ("flash", "fmha", "varlen"),
    "matrix products": ("gemm", "nvjet", "cutlass", "cublas"),
    "gathers and scatters": ("index", "scatter", "gather"),
    "softmax and loss": ("softmax", "nll"),
    "copies and casts": ("copy", "memcpy", "memset", "fill"),
    "reductions": ("reduce",),
    "elementwise": ("elementwise", "vectorized"),
    "triton": ("triton", "_rms", "_swiglu", "_rope", "_kernel"),
}
"""Kind of kernel -> parts of the names of its kernels."""


def model_and_row(settings: KernelSettings) -> tuple[PreTrainedModel, TokenTree]:
    on_cpu = settings.device == "cpu"
    shape = shape_of("qwen3_4b").model_copy(update={"layers": 1 if on_cpu else LAYERS})
    model = build_model(shape, VARIANT, settings.device, 64 if on_cpu else 1)
    bench = GpuSettings(device=settings.device, scale=settings.scale)
    return model, full_row(bench, bench.row_tokens, model.config.vocab_size)


def row_time(model: PreTrainedModel, row: TokenTree, settings: KernelSettings) -> float:
    """Milliseconds of a forward and backward pass."""
    return milliseconds(lambda: run_rows(model, [row], VARIANT, settings.device), settings, repeats=3)


def kinds_of_kernels(model: PreTrainedModel, row: TokenTree, settings: KernelSettings) -> None:
    """The milliseconds of each kind, and the longest kernels."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        run_rows(model, [row], VARIANT, settings.device)
        synchronize(settings)
    kinds: dict[str, float] = defaultdict(float)
    kernels: dict[str, float] = {}
    for event in profiler.key_averages():
        if event.device_type.name != "CUDA":
            continue
        name, spent = event.key, event.self_device_time_total / 1e3
        kinds[next((kind for kind, words in KINDS.items() if any(w in name.lower() for w in words)), "other")] += spent
        kernels[name[:110]] = spent
    figure("a row's kernels, ms by kind", {kind: round(ms, 1) for kind, ms in sorted(kinds.items(), key=_longest)})
    figure("the longest kernels, ms", {k: round(ms, 2) for k, ms in sorted(kernels.items(), key=_longest)[:12]})


def _longest(entry: tuple[str, float]) -> float:
    return -entry[1]


def main(settings: KernelSettings) -> None:
    model, row = model_and_row(settings)
    before = row_time(model, row, settings)
    figure("a row through the layers", {"tokens": row.size, "trained": len(row.trained), "ms": before})
    if settings.device == "cuda":
        kinds_of_kernels(model, row, settings)
    try:
        check_fused("liger")
    except UserError as error:
        figure("Liger", str(error))
        return
    fuse(model, "liger")
    after = row_time(model, row, settings)
    figure("the same row with Liger's norm, SwiGLU and rope", {"ms": after, "less %": 100 * (1 - after / before)})


if __name__ == "__main__":
    with clear_errors():
        main(read_settings(sys.argv[1:], KernelSettings))
