"""Imports the official BFCL package without its unused parts. Runs in BFCL's own environment."""

from __future__ import annotations

import sys
from pkgutil import iter_modules
from types import ModuleType

USED = ("openai_completion", "base_oss_handler")
UNUSED = ("openai", "pandas")
"""Our client replaces the OpenAI SDK; pandas only builds tables for a tracker that the worker turns off."""


class Unused(ModuleType):
    """Placeholder for another vendor's handler or a library. Importing all of them costs every process many seconds."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return object


sys.modules.update({name: Unused(name) for name in UNUSED})

from bfcl_eval.model_handler import api_inference, local_inference

for package in (api_inference, local_inference):
    for module in iter_modules(package.__path__, f"{package.__name__}."):
        if not module.name.endswith(USED):
            sys.modules[module.name] = Unused(module.name)

# These imports must follow the placeholders.
from bfcl_eval import _llm_response_generation as generation
from bfcl_eval.constants.enums import ModelStyle
from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING, ModelConfig
from bfcl_eval.eval_checker import eval_runner
from bfcl_eval.model_handler import base_handler
from bfcl_eval.model_handler.api_inference.openai_completion import OpenAICompletionsHandler
from bfcl_eval.utils import contain_multi_turn_interaction, load_dataset_entry


def remove_placeholders() -> None:
    """Lets later imports find the real libraries: PyTorch, which memory_vector imports, looks for pandas."""
    for name in UNUSED:
        sys.modules.pop(name, None)


__all__ = [
    "MODEL_CONFIG_MAPPING",
    "ModelConfig",
    "ModelStyle",
    "OpenAICompletionsHandler",
    "base_handler",
    "contain_multi_turn_interaction",
    "eval_runner",
    "generation",
    "load_dataset_entry",
    "remove_placeholders",
]
