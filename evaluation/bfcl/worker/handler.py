"""Adapts the evaluated model to the official BFCL code. Runs in BFCL's own environment.

The official code joins the names of tools and arguments into a Python expression and eval()s it. Only names that the
task declares get that far; they include tools that it withholds until a later turn, which officially work before they
are offered.
"""

from __future__ import annotations

import time
from typing import Any

from core.server_protocol import request_seed, token_counts
from evaluation.bfcl.worker.client import Client, ContextExceededError, UnansweredError
from evaluation.bfcl.worker.official import (
    ModelStyle,
    OpenAICompletionsHandler,
    base_handler,
    contain_multi_turn_interaction,
)
from evaluation.bfcl.worker.tool_calls import JsonObject, as_history, fits, objection

REJECTED = "undeclared_tool"


class ServedHandler(OpenAICompletionsHandler):
    """Function calling with any OpenAI-compatible server: with seeds, reasoning in the history, and no unsafe calls."""

    def __init__(self, client: Client, request: JsonObject, **official: Any) -> None:
        base_handler.BaseHandler.__init__(self, **official)
        self.model_style = ModelStyle.OPENAI_COMPLETIONS
        self.client = client
        self.request = request
        self.unanswered: set[str] = set()

    def inference(
        self, test_entry: JsonObject, include_input_log: bool, exclude_state_log: bool
    ) -> tuple[Any, JsonObject]:
        """The official loop; the metadata contain every request and all messages.

        A failed request ends the entry, with its kind under "failure". So does an unanswered prerequisite, because the
        memory would differ without it.
        """
        trace: JsonObject = {"requests": [], "messages": []}
        try:
            if missing := self.unanswered.intersection(test_entry.get("depends_on", ())):
                raise UnansweredError(f"its prerequisite {min(missing)} was not answered")
            result, metadata = super().inference({**test_entry, "trace": trace}, include_input_log, exclude_state_log)
        except ContextExceededError as error:
            return f"Error during inference: {error}", {**trace, "failure": "context_length"}
        except UnansweredError as error:
            self.unanswered.add(test_entry["id"])
            return f"Error during inference: {error}", {**trace, "failure": "infrastructure"}
        except Exception:
            # The official code stores the traceback as an answer, which then counts as an infrastructure error.
            self.unanswered.add(test_entry["id"])
            raise
        metadata.pop("inference_log", None)  # less detailed than the messages
        return result, {**metadata, **trace}

    def _pre_query_processing_FC(self, inference_data: JsonObject, test_entry: JsonObject) -> JsonObject:
        trace = test_entry["trace"]
        withheld = (tool for tools in test_entry.get("missed_function", {}).values() for tool in tools)
        tools = [*test_entry["function"], *withheld] if contain_multi_turn_interaction(test_entry["id"]) else None
        # What the official code may evaluate; None if it evaluates nothing.
        executable = None if tools is None else {tool["name"]: set(tool["parameters"]["properties"]) for tool in tools}
        requests = trace["requests"]
        return {"message": trace["messages"], "id": test_entry["id"], "requests": requests, "executable": executable}

    def _query_FC(self, inference_data: JsonObject) -> tuple[Any, float]:
        trial, step = self.request["trial"], len(inference_data["requests"])
        request_id = f"bfcl/{inference_data['id']}/{trial}/{step}"
        body = {
            "model": self.request["model"],
            "messages": inference_data["message"],
            "seed": request_seed(self.request["seed"], request_id),
            **self.request["body"],
        }
        if inference_data["tools"]:
            body["tools"] = inference_data["tools"]
        started = time.monotonic()
        response = self.client.complete(body, request_id)
        seconds = time.monotonic() - started
        return (response, inference_data, seconds), seconds

    def _parse_query_response_FC(self, api_response: tuple[JsonObject, JsonObject, float]) -> JsonObject:
        response, inference_data, seconds = api_response
        message = response["choices"][0]["message"]
        calls = [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls") or ()]
        metrics = request_metrics(response, calls, inference_data["tools"], seconds)
        inference_data["requests"].append(metrics)
        executable = inference_data["executable"]
        objections = [None if executable is None else objection(*call, executable) for call in calls]
        inference_data["objections"] = objections
        allowed = [
            {REJECTED: "{}"} if rejected else {name: arguments}
            for (name, arguments), rejected in zip(calls, objections, strict=True)
        ]
        reasoning = message.get("reasoning") or message.get("reasoning_content") or ""
        history = as_history(message, reasoning)
        if executable is None:
            inference_data["message"].append(history)  # the official code adds it only if the dialogue continues
        return {
            "model_responses": allowed or message.get("content") or "",
            "model_responses_message_for_chat_history": history,
            "tool_call_ids": [call["id"] for call in history.get("tool_calls", ())],
            # The official code adds these up; the trial's record is made from the metrics.
            "input_token": metrics["prompt_tokens"] or 0,
            "output_token": metrics["completion_tokens"] or 0,
            "reasoning_content": reasoning,
        }

    def _add_execution_results_FC(
        self, inference_data: JsonObject, execution_results: list[str], model_response_data: JsonObject
    ) -> JsonObject:
        """Reports errors with the names that the model used, not with REJECTED."""
        results = [
            f"Error during execution: {reason}" if reason else result
            for reason, result in zip(inference_data["objections"], execution_results, strict=True)
        ]
        answer: JsonObject = super()._add_execution_results_FC(inference_data, results, model_response_data)
        return answer


def request_metrics(
    response: JsonObject, calls: list[tuple[str, str]], tools: list[JsonObject], seconds: float
) -> JsonObject:
    """What the trial's record sums up over all requests."""
    choice = response["choices"][0]
    prompt_tokens, completion_tokens = token_counts(response)
    declared = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    return {
        "stop_reason": choice.get("finish_reason"),
        "calls": len(calls),
        "valid_calls": sum(fits(name, arguments, declared) for name, arguments in calls),
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "seconds": round(seconds, 3),
    }
