"""Gradient checkpointing that keeps attention's output: the layer is recomputed, but not its attention kernel.

PyTorch's selective checkpointing does the same, and refuses a recomputation with other operations than the forward pass
had. Under ZeRO-3 that is normal: which weights are gathered within a layer depends on what was fetched ahead. The modes
here compare nothing but the attention kernels themselves.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

KEPT = frozenset(
    {
        "aten::_scaled_dot_product_cudnn_attention",
        "aten::_scaled_dot_product_efficient_attention",
        "aten::_scaled_dot_product_flash_attention",
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "flash_attn::_flash_attn_varlen_forward",
        "torch_attn::_varlen_attn",
    }
)
"""The operations that compute attention. Each returns its output, the log-sum-exp of the scores, and little else."""


def checkpointing(keep_attention: bool) -> dict[str, Any]:
    """Arguments of torch.utils.checkpoint for the model's layers."""
    return {"use_reentrant": False} | ({"context_fn": kept_attention} if keep_attention else {})


def kept_attention() -> tuple[TorchDispatchMode, TorchDispatchMode]:
    """The contexts of a checkpoint's forward pass and of its recomputation."""
    outputs: deque[Any] = deque()
    return _Keep(outputs), _Reuse(outputs)


class _Keep(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Keeps what the attention kernels return."""

    def __init__(self, outputs: deque[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.outputs = outputs

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Compiled functions stay compiled; they contain no attention kernel."""
        return True

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = operation(*args, **(kwargs or {}))
        if operation.name() in KEPT:
            # autograd marks the tensor that it is given as the result of this pass.
            self.outputs.append(tree_map_only(torch.Tensor, torch.Tensor.detach, output))
        return output


class _Reuse(_Keep):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Returns what was kept, in order, in place of calling the kernels."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.outputs.popleft() if operation.name() in KEPT else operation(*args, **(kwargs or {}))
