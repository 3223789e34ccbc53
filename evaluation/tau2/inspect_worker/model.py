"""The two sides of a τ² dialogue as inspect models: every request is seeded, counted and allowed to fail only once."""

from __future__ import annotations

import asyncio
from typing import Any

from inspect_ai.model import GenerateConfig, Model, get_model
from inspect_ai.model._providers.openai_compatible import OpenAICompatibleAPI
from inspect_ai.util import store
from openai.types.chat import ChatCompletion

from core.server_protocol import exceeds_context, request_seed, token_counts, wrapped_error
from evaluation.endpoint import Endpoint
from evaluation.tau2.inspect_worker.records import ENDED
from evaluation.tau2.settings import Tau2Request

# Keys of a sample's store: the trial's name, and the number of its requests so far.
TRIAL, STEPS = "served_trial", "served_steps"


class DialogueEndedError(Exception):
    """No more requests are sent for this trial. The official loop catches all exceptions and soon reaches its limit."""


class ServedAPI(OpenAICompatibleAPI):
    """One side of the dialogue. The first failed request ends the trial; the sample's store keeps the reason.

    Tools are sent without `strict`, so that servers do not repair the model's arguments.
    """

    def __init__(self, model_name: str, side: str, request: Tau2Request, **official: Any) -> None:
        settings = request.settings
        super().__init__(
            model_name,
            service="served",
            strict_tools=False,
            max_retries=settings.retries,
            client_timeout=settings.timeout_s,
            **official,
        )
        self.side, self.seed, self.max_steps = side, settings.seed, settings.max_steps
        # The client's own timeout bounds silence only: a server whose answer never ends would not exceed it.
        self.total_timeout_s = settings.timeout_s * (settings.retries + 1)

    async def generate(self, input: Any, tools: Any, tool_choice: Any, config: GenerateConfig) -> Any:
        """inspect's answer. Raises DialogueEndedError if the request fails, or if the trial has already ended."""
        if store().get(ENDED):
            raise DialogueEndedError(store().get(ENDED)["reason"])
        step = store().get(STEPS, 0)
        if step >= self.max_steps:
            raise _end("max_steps", "")
        store().set(STEPS, step + 1)
        # The id matches lines of the server's log with transcripts.
        request_id = f"tau2/{store().get(TRIAL)}/{self.side}/{step}"
        seed = request_seed(self.seed, request_id)
        seeded = config.merge(GenerateConfig(seed=seed, extra_headers={"X-Request-Id": request_id}))
        try:
            async with asyncio.timeout(self.total_timeout_s):
                result = await super().generate(input, tools, tool_choice, seeded)
        except TimeoutError as error:
            raise self._failure(TimeoutError(f"no complete answer after {self.total_timeout_s:g} s")) from error
        except Exception as error:
            raise self._failure(error) from error
        output = result[0] if isinstance(result, tuple) else result
        if isinstance(output, Exception):
            raise self._failure(output)
        return result

    async def _generate_completion(self, request: dict[str, Any], config: GenerateConfig) -> Any:
        """The server's reply. inspect expects usage to be complete or missing, and an error to have its HTTP status."""
        reply = await super()._generate_completion(request, config)
        if isinstance(reply, ChatCompletion):
            body = reply.model_dump()
            if error := wrapped_error(body):
                raise ValueError(error)
            if None in token_counts(body):
                reply.usage = None
        return reply

    def handle_bad_request(self, ex: Exception) -> Exception:
        """Returns every refusal as an error: inspect would turn some, by their codes, into the model's answer."""
        return ex

    def handle_stream_error(self, ex: Exception) -> None:
        """Raises every error again, for the same reason."""

    def _failure(self, error: Exception) -> DialogueEndedError:
        code = getattr(error, "code", None)  # OpenAI's error code, which the error's text may omit
        message = f"{self.side}: {type(error).__name__}: {error}" + (f" ({code})" if code else "")
        model_failed = self.side == "agent" and exceeds_context(message, getattr(error, "status_code", None))
        return _end("context_length" if model_failed else "infrastructure", message)


def _end(reason: str, message: str) -> DialogueEndedError:
    store().set(ENDED, {"reason": reason, "message": message})
    return DialogueEndedError(message or reason)


def served_model(endpoint: Endpoint, side: str, request: Tau2Request) -> Model:
    """The model of `side`, "agent" or "user". ServedAPI must be registered as "served"."""
    sampling = endpoint.sampling
    config = GenerateConfig(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        max_connections=endpoint.concurrency,
        max_retries=0,  # only the client retries: an error that it raises is final
        extra_body=endpoint.extra_body(),
    )
    return get_model(
        f"served/{endpoint.model}",
        config=config,
        base_url=endpoint.base_url,
        api_key=endpoint.api_key(),
        memoize=False,
        side=side,
        request=request,
    )
