"""One phase of one BFCL trial with the official code, run by evaluation.bfcl with the Python of BFCL's own environment.

    python -P bfcl_worker.py REQUEST.json         BFCL_PROJECT_ROOT=<the trial's directory>

It imports nothing of this project, whose packages that environment lacks. REQUEST.json holds {"phase": "generate" | "score",
"tasks": {category: [ids] | null for all}, "model", "sampling", "trial", "seed", "concurrency", "max_steps", "retries", "timeout"}.

A new process for every phase, because the simulated APIs live in module globals: a second trial, or scoring after generating,
would start from a state already changed. What is generated goes to result/; scoring reads scorable/, a copy without the entries
that have a "failure": the official scorer takes an error text for an answer and gives a dead server full marks for irrelevance.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from argparse import Namespace
from functools import partial
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import openai
from bfcl_eval.model_handler import api_inference, local_inference
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

USED = ("openai_completion", "base_oss_handler")


class Unused(ModuleType):
    """Stands for the handler of another vendor. Importing all of them and their SDKs takes five seconds of every process."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return object


for package in (api_inference, local_inference):
    for module in iter_modules(package.__path__, f"{package.__name__}."):
        if not module.name.endswith(USED):
            sys.modules[module.name] = Unused(module.name)

# Only now, after the stand-ins.
from bfcl_eval import _llm_response_generation as generation
from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING, ModelConfig
from bfcl_eval.eval_checker import eval_runner
from bfcl_eval.model_handler import base_handler
from bfcl_eval.model_handler.api_inference.openai_completion import OpenAICompletionsHandler
from bfcl_eval.utils import load_dataset_entry

# "_" would be taken for "/" by the official code; "FC" selects its function-calling mode.
REGISTERED = "served-FC"
REJECTED = "undeclared_tool"
TOO_LONG = ("context length", "maximum model length", "context_length_exceeded")

JsonObject = dict[str, Any]


class ServedHandler(OpenAICompletionsHandler):  # type: ignore[misc]  # the package has no types
    """Function calling against any OpenAI-compatible server, with seeds, reasoning in the history and no unsafe call."""

    def __init__(self, request: JsonObject, **official: Any) -> None:
        self.request = request
        super().__init__(**official)

    def _build_client_kwargs(self) -> JsonObject:
        patience = {"max_retries": self.request["retries"], "timeout": self.request["timeout"]}
        return {**super()._build_client_kwargs(), **patience}

    def inference(
        self, test_entry: JsonObject, include_input_log: bool, exclude_state_log: bool
    ) -> tuple[Any, JsonObject]:
        """The official loop; the metadata tell of every request. A failed one ends the entry, its kind under "failure"."""
        requests: list[JsonObject] = []
        entry = {**test_entry, "requests": requests}
        try:
            result, metadata = super().inference(entry, include_input_log, exclude_state_log)
        except openai.BadRequestError as error:
            too_long = any(mark in str(error) for mark in TOO_LONG)
            failure = {"failure": "context_length" if too_long else "infrastructure"}
            return f"Error during inference: {error}", {"requests": requests, **failure}
        except openai.OpenAIError as error:
            message = f"Error during inference: {type(error).__name__}: {error}"
            return message, {"requests": requests, "failure": "infrastructure"}
        return result, {**metadata, "requests": requests}

    def _pre_query_processing_FC(self, inference_data: JsonObject, test_entry: JsonObject) -> JsonObject:
        return {"message": [], "id": test_entry["id"], "requests": test_entry["requests"]}

    def _query_FC(self, inference_data: JsonObject) -> tuple[Any, float]:
        sampling = self.request["sampling"]
        origin = (self.request["seed"], self.request["trial"], inference_data["id"], len(inference_data["requests"]))
        optional = {"tools": inference_data["tools"]} if inference_data["tools"] else {}
        started = time.monotonic()
        response = self.client.chat.completions.create(
            model=self.request["model"],
            messages=inference_data["message"],
            temperature=sampling["temperature"],
            top_p=sampling["top_p"],
            max_tokens=sampling["max_tokens"],
            seed=int.from_bytes(hashlib.sha256(repr(origin).encode()).digest()[:4], "big") >> 1,
            extra_body={"top_k": sampling["top_k"]},
            **optional,
        )
        seconds = time.monotonic() - started
        return (response, inference_data, seconds), seconds

    def _parse_query_response_FC(self, api_response: tuple[Any, JsonObject, float]) -> JsonObject:
        response, inference_data, seconds = api_response
        choice, usage = response.choices[0], response.usage
        calls = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()]
        declared = {tool["function"]["name"]: tool["function"]["parameters"] for tool in inference_data["tools"]}
        inference_data["requests"].append(
            {
                "stop_reason": choice.finish_reason,
                "calls": len(calls),
                "valid_calls": sum(fits(name, arguments, declared) for name, arguments in calls),
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "seconds": round(seconds, 3),
            }
        )
        reasoning = getattr(choice.message, "reasoning", None) or getattr(choice.message, "reasoning_content", None)
        return {
            "model_responses": [defused(*call, declared) for call in calls] or choice.message.content or "",
            "model_responses_message_for_chat_history": as_history(choice.message, reasoning),
            "tool_call_ids": [call.id for call in choice.message.tool_calls or ()],
            "input_token": usage.prompt_tokens,
            "output_token": usage.completion_tokens,
            "reasoning_content": reasoning or "",
        }


def defused(name: str, arguments: str, declared: JsonObject) -> dict[str, str]:
    """The call as the official code wants it, or a harmless wrong one.

    The official code joins tool and argument names into a Python expression and eval()s it. Only a declared tool with plain
    argument names may get there; anything else becomes a call of a tool that does not exist, which fails and says so.
    """
    try:
        names = json.loads(arguments)
    except ValueError:
        names = {}  # not JSON: the official decoder refuses it before anything runs
    safe = name in declared and (not isinstance(names, dict) or all(key.isidentifier() for key in names))
    return {name: arguments} if safe else {REJECTED: "{}"}


def fits(name: str, arguments: str, declared: JsonObject) -> bool:
    """Whether a call names a declared tool and its arguments fit that tool's schema."""
    try:
        return name in declared and Draft202012Validator(declared[name]).is_valid(json.loads(arguments))
    except (ValueError, SchemaError):
        return False


def as_history(message: Any, reasoning: str | None) -> JsonObject:
    """The reply as the next request carries it. Arguments that are no JSON object would make servers refuse the request."""
    history: JsonObject = {"role": "assistant", "content": message.content}
    if reasoning:
        history |= {"reasoning": reasoning, "reasoning_content": reasoning}
    if message.tool_calls:
        history["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": arguments}}
            for call in message.tool_calls
            for arguments in [call.function.arguments if is_object(call.function.arguments) else "{}"]
        ]
    return history


def is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def generate(request: JsonObject, root: Path) -> None:
    """Answer every entry that has no answer yet; entries lost to infrastructure are tried again."""
    for path in (root / "result").rglob("*_result.json"):
        kept = [line for line in lines(path) if line.get("failure") != "infrastructure"]
        path.write_text("".join(json.dumps(line) + "\n" for line in kept))
    entries = []
    for category, ids in request["tasks"].items():
        every = load_dataset_entry(category)
        known = {entry["id"] for entry in every}
        if unknown := sorted(set(ids or ()) - known):
            sys.exit(f"BFCL category {category} has no task {unknown[0]!r}")
        entries += [entry for entry in every if ids is None or entry["id"] in ids]
    base_handler.MAXIMUM_STEP_LIMIT = request["max_steps"]
    arguments = Namespace(
        temperature=request["sampling"]["temperature"],
        num_threads=request["concurrency"],
        result_dir=root / "result",
        run_ids=False,
        allow_overwrite=False,
        include_input_log=False,
        exclude_state_log=True,
    )
    pending = generation.collect_test_cases(arguments, REGISTERED, list(request["tasks"]), entries)
    generation.generate_results(arguments, REGISTERED, pending)


def score(request: JsonObject, root: Path) -> None:
    """Score the answers with the official checker."""
    for path in (root / "result").rglob("*_result.json"):
        copy = root / "scorable" / path.relative_to(root / "result")
        answered = [line for line in lines(path) if "failure" not in line]
        if answered:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text("".join(json.dumps(line) + "\n" for line in answered))
    eval_runner.main([REGISTERED], list(request["tasks"]), root / "scorable", root / "score", partial_eval=True)


def lines(path: Path) -> list[JsonObject]:
    """The records of a result file, without a last line that a killed process left torn."""
    whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    records = [json.loads(line) for line in whole]
    for record in records:
        # The official code catches whatever an entry raised and stores it as the model's words.
        if "traceback" in record:
            record["failure"] = "infrastructure"
    return records


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text())
    MODEL_CONFIG_MAPPING[REGISTERED] = ModelConfig(
        model_name=REGISTERED,
        display_name=REGISTERED,
        url="",
        org="",
        license="",
        model_handler=partial(ServedHandler, request),
        underscore_to_dot=True,
    )
    root = Path(os.environ["BFCL_PROJECT_ROOT"])
    {"generate": generate, "score": score}[request["phase"]](request, root)


if __name__ == "__main__":
    main()
