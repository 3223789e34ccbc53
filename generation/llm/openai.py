"""A model behind one or more OpenAI-compatible servers (vLLM), through a bare keep-alive HTTP client."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, get_args

from pydantic import Field

from core.messages import AssistantMessage, Message
from core.sampling import Sampling
from core.server_protocol import context_in_refusal, request_seed
from core.settings import UserError, closest, typed
from generation.llm.base import Completion, LLMError, Request, Role
from generation.llm.parsing.completion import parse_completion
from generation.llm.replicas import Limits
from generation.llm.transport import ContextExceededError, RetryPolicy, Transport

ANSWERS_IN_JSON: tuple[Role, ...] = tuple(role for role in get_args(Role) if role != "agent")
"""The roles whose requests carry a JSON Schema of the answer."""

TRANSPORT_KEYS = (
    *("base_urls", "api_key_env", "timeout_s", "backoff_s", "outage_s"),
    *("max_in_flight", "max_tokens_in_flight", "role_max_in_flight"),
)
"""Settings that do not change what is generated: which servers answer, how long to wait, how many requests at once."""

_AVERAGING_WINDOW = 32
"""Answers over which the length of a role's answers is averaged."""

MIN_ANSWER_TOKENS = 64
"""Room for an answer, in tokens, without which a prompt counts as too long."""

_REFUSED_SCHEMA = re.compile(
    r"HTTP (?:400|422|501): .*(?:response_format|json_schema|guided|structured|grammar|schema)", re.I | re.S
)


class ClientSettings(RetryPolicy, Limits):
    """The keys of conf/llm/vllm.yaml next to `base_urls`: flat there, grouped here."""

    model: str | None = Field(default=None, description="Name of the model; null: the only one that is served.")
    api_key_env: str = Field(default="OPENAI_API_KEY", description="Environment variable that holds the API key.")
    seed: int = Field(default=0, description="Sampling seeds derive from it and from each request's key.")
    thinks: bool = Field(
        default=False, description="Whether the model reasons before it answers; greedy sampling is then refused."
    )
    sampling: dict[str, Any] = Field(default={}, description="Sampling parameters of every role.")
    role_sampling: dict[Role, dict[str, Any]] = Field(
        default={}, description="Role -> the sampling parameters in which it differs."
    )
    extra_body: dict[str, Any] = Field(
        default={}, description="Further fields of every request, such as reasoning_effort or chat_template_kwargs."
    )
    role_extra_body: dict[Role, dict[str, Any]] = Field(
        default={}, description="Role -> fields that add to those of extra_body or replace them."
    )
    structured: tuple[Role, ...] = Field(
        default=ANSWERS_IN_JSON, description="Roles whose answers the server constrains to their JSON Schema."
    )
    strict_tools: bool = Field(
        default=False, description="Whether the server constrains the arguments of tool calls to their schemas."
    )
    role_max_in_flight: dict[Role, Annotated[int, Field(ge=1)]] = Field(
        default={}, description="Role -> most requests that it has in flight, over all servers."
    )


class OpenAILLM:
    """Implements generation.llm.base.LLM. Cheap to construct; the first request asks the servers what they serve.

    `settings` are the fields of ClientSettings. A schema that the server refuses is not sent again. The tokens in
    flight at a server are estimated from prompts and expected answers.
    """

    def __init__(self, base_urls: Sequence[str], **settings: Any) -> None:
        """Raises UserError for wrong settings."""
        if isinstance(base_urls, str) or not base_urls:
            raise UserError(f"base_urls is {base_urls!r}; expected a list such as [http://127.0.0.1:8000/v1]")
        if bare := [url for url in base_urls if not url.startswith(("http://", "https://"))]:
            raise UserError(f"base_urls contains {bare[0]!r}; expected http:// or https:// before it")
        self._settings = typed(settings, ClientSettings)
        self._model = self._settings.model
        self.name = self._model or "the served model"
        common = self._settings.sampling
        self._sampling = typed(common, Sampling, "sampling")
        self._role_sampling = {
            role: typed(common | changes, Sampling, f"role_sampling.{role}")
            for role, changes in self._settings.role_sampling.items()
        }
        if self._settings.thinks:
            _refuse_greedy({"sampling": self._sampling} | self._role_sampling)
        self._context: int | None = None
        self._refused_schemas: set[str] = set()
        self._transport = Transport(
            base_urls, self._settings.api_key_env, limits=self._settings, retry_policy=self._settings
        )
        self._role_slots = {role: asyncio.Semaphore(most) for role, most in self._settings.role_max_in_flight.items()}
        self._mean_answer_tokens: dict[Role, float] = {}
        self._connection: asyncio.Task[None] | None = None

    async def complete(self, request: Request) -> Completion:
        """Answer one request. A prompt that leaves no room for an answer in the model's context gives an empty
        completion with finish_reason "length": the dialogue fails, not the server. Raises LLMError after all retries,
        UserError for a wrong server, model or key."""
        await self._ensure_connected()
        async with self._role_slots.get(request.role, nullcontext()):
            try:
                completion = await self._send(request)
            except ContextExceededError:
                return Completion(message=AssistantMessage(), finish_reason="length")
            except LLMError as error:
                raise LLMError(f"{request.key}: {error}") from None
        if completion.completion_tokens is not None:
            self._record_length(request.role, completion.completion_tokens)
        return completion

    async def close(self) -> None:
        if self._connection:
            self._connection.cancel()
        await self._transport.close()

    async def _send(self, request: Request) -> Completion:
        """Send the request; if the server refuses its schema, once more without, and if answer and prompt do not fit
        into the context together, once more with the room that is left."""
        try:
            return await self._post(request)
        except ContextExceededError as error:
            room = _room(str(error), self._context)
            if room is None or room >= self._max_tokens(request.role):
                raise
            return await self._post(request, room)
        except LLMError as error:
            if not self._is_structured(request) or not _REFUSED_SCHEMA.search(str(error)):
                raise
        self._refused_schemas.add(_canonical(request.json_schema))
        return await self._send(request)

    async def _post(self, request: Request, max_tokens: int | None = None) -> Completion:
        completion, retries = await self._transport.request(
            "chat/completions",
            partial(self._payload, request, max_tokens or self._max_tokens(request.role)),
            request.affinity,
            partial(parse_completion, tools=request.tools),
            self._expected_tokens(request.role),
        )
        return replace(completion, retries=retries, model=self.name)

    def _max_tokens(self, role: Role) -> int:
        """The budget of one answer: the role's, within the context that the server reports."""
        budget = self._role_sampling.get(role, self._sampling).max_tokens
        return min(budget, self._context - MIN_ANSWER_TOKENS) if self._context else budget

    def _expected_tokens(self, role: Role) -> int:
        """Expected tokens of an answer: the running mean of the role's answers, before the first one its
        budget."""
        return math.ceil(self._mean_answer_tokens.get(role, self._max_tokens(role)))

    def _record_length(self, role: Role, tokens: int) -> None:
        mean = self._mean_answer_tokens.get(role, tokens)
        self._mean_answer_tokens[role] = mean + (tokens - mean) / _AVERAGING_WINDOW

    async def _ensure_connected(self) -> None:
        """Before the first request, check that servers answer and offer the model. All requests wait for the same
        check; if it fails, it fails for all of them, and the next request checks again."""
        check = self._connection
        if check is None or (check.done() and (check.cancelled() or check.exception())):
            check = self._connection = asyncio.create_task(self._connect())
        if not check.done():
            await asyncio.shield(check)

    async def _connect(self) -> None:
        self._model, self._context = await self._transport.discover_model(self._choose_model)
        self.name = self._model

    def _choose_model(self, url: str, served: list[str]) -> str:
        if self._model is None and len(served) != 1:
            raise UserError(f"the server at {url} offers the models {served}; name one of them")
        if self._model is not None and self._model not in served:
            raise UserError(
                f"the server at {url} does not offer the model {self._model!r}; {closest(self._model, served)}"
            )
        return self._model or served[0]

    def _payload(self, request: Request, max_tokens: int, errors: int) -> dict[str, Any]:
        """The request's body after `errors` server errors, each of which changes the sampling seed."""
        sampling = self._role_sampling.get(request.role, self._sampling).model_copy(update={"max_tokens": max_tokens})
        payload = {
            "model": self._model,
            "messages": [_wire_format(message) for message in request.messages],
            **sampling.body(),
            "seed": request_seed(self._settings.seed, f"{request.key}/{errors}" if errors else request.key),
            **self._settings.extra_body,
            **self._settings.role_extra_body.get(request.role, {}),
        }
        if request.tools:
            strict = {"strict": True} if self._settings.strict_tools else {}
            specs = [tool.openai() for tool in request.tools]
            payload["tools"] = [{**spec, "function": {**spec["function"], **strict}} for spec in specs]
        if self._is_structured(request):
            schema = {"name": request.role, "schema": request.json_schema, "strict": True}
            payload["response_format"] = {"type": "json_schema", "json_schema": schema}
        return payload

    def _is_structured(self, request: Request) -> bool:
        if request.role not in self._settings.structured or not request.json_schema:
            return False
        # Schemas are large and hardly ever refused: written out only once one was.
        return not self._refused_schemas or _canonical(request.json_schema) not in self._refused_schemas


def _refuse_greedy(sampling: Mapping[str, Sampling]) -> None:
    """Raise UserError for a temperature of 0: a model that thinks then repeats itself without end, and all votes of a
    judge are the same."""
    for name, parameters in sampling.items():
        if parameters.temperature == 0:
            raise UserError(
                f"{name}: temperature 0 was given for a model that thinks; expected: its recommended temperature, "
                "since greedy thinking repeats itself"
            )


def _room(refusal: str, context: int | None) -> int | None:
    """The tokens that a refused prompt leaves for an answer, if the refusal says how long it is; None if it does not,
    or if that is too few."""
    stated, prompt = context_in_refusal(refusal)
    context = stated or context
    room = context - prompt if context and prompt else 0
    return room if room >= MIN_ANSWER_TOKENS else None


def _wire_format(message: Message) -> dict[str, Any]:
    """A message as servers expect it: vLLM reads earlier thinking from `reasoning`, older servers from
    `reasoning_content`."""
    wire = message.model_dump(exclude_none=True)
    if reasoning := wire.get("reasoning_content"):
        wire["reasoning"] = reasoning
    return wire


def _canonical(schema: dict[str, Any] | None) -> str:
    return json.dumps(schema, sort_keys=True)
