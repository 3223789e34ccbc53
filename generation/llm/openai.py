"""A model behind one or more OpenAI-compatible servers (vLLM), over a bare keep-alive HTTP client."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, get_args

from core.messages import AssistantMessage, Message
from core.sampling import Sampling
from core.settings import UserError, closest, typed
from generation.llm.base import Completion, LLMError, Request, Role
from generation.llm.parsing import parse_completion, parse_models
from generation.llm.transport import PromptTooLongError, Transport

ANSWERS_IN_JSON: tuple[Role, ...] = ("tool_maker", "task_writer", "user", "tool_simulator", "judge")
"""The roles whose requests come with the schema of the answer, where its shape is known."""

_REFUSED_SCHEMA = re.compile(
    r"HTTP (?:400|422|501): .*(?:response_format|json_schema|guided|structured|grammar|schema)", re.I | re.S
)


class OpenAILLM:
    """Implements generation.llm.base.LLM. Cheap to construct; the first request asks the servers what they serve.

    `model` None takes the one model served. `sampling` holds Sampling's fields for every role, `role_sampling` those that
    differ for single roles; `extra_body` goes into each request as it is (reasoning_effort, chat_template_kwargs).
    `role_extra_body` adds to or replaces its top-level fields for single roles. `strict_tools` asks the server to hold
    arguments to their schemas; it holds the answers of the roles in `structured` to the request's schema, unless it refuses
    the schema: then that one is not sent again. At most `max_in_flight` requests wait at once, each for `timeout_s` seconds
    and with `retries` more attempts. Sampling seeds derive from (`seed`, the request's key).
    """

    def __init__(
        self,
        base_urls: Sequence[str],
        model: str | None = None,
        sampling: Mapping[str, Any] | None = None,
        role_sampling: Mapping[Role, Mapping[str, Any]] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        role_extra_body: Mapping[Role, Mapping[str, Any]] | None = None,
        structured: Sequence[Role] = ANSWERS_IN_JSON,
        api_key_env: str = "OPENAI_API_KEY",
        max_in_flight: int = 256,
        timeout_s: float = 600.0,
        retries: int = 5,
        backoff_s: float = 0.5,
        strict_tools: bool = False,
        seed: int = 0,
    ) -> None:
        if isinstance(base_urls, str) or not base_urls:
            raise UserError(f"base_urls is {base_urls!r}; expected a list such as [http://127.0.0.1:8000/v1]")
        self.name = model or "the served model"
        base = dict(sampling or {})
        self._sampling = typed(base, Sampling, "sampling")
        for setting, roles in {
            "role_sampling": role_sampling,
            "role_extra_body": role_extra_body,
            "structured": structured,
        }.items():
            if unknown := set(roles or ()) - set(get_args(Role)):
                raise UserError(
                    f"{setting} names the unknown roles {sorted(unknown)}; roles: {', '.join(get_args(Role))}"
                )
        self._role_sampling = {
            role: typed(base | dict(values), Sampling, f"role_sampling.{role}")
            for role, values in (role_sampling or {}).items()
        }
        self._extra_body = dict(extra_body or {})
        self._role_extra_body = {role: dict(values) for role, values in (role_extra_body or {}).items()}
        self._structured = frozenset(structured)
        self._refused_schemas: set[str] = set()
        self._strict_tools = strict_tools
        self._seed = seed
        self._base_urls = list(base_urls)
        self._transport = Transport(base_urls, api_key_env, timeout_s, retries, backoff_s)
        self._in_flight = asyncio.Semaphore(max_in_flight)
        self._model = model
        self._meeting = asyncio.Lock()
        self._met = False

    async def complete(self, request: Request) -> Completion:
        """Answer one request. A prompt beyond the model's context gives an empty completion with finish_reason "length":
        that is the dialogue's failure. Raises LLMError after all retries, UserError for a wrong server, model or key."""
        await self._meet()
        async with self._in_flight:
            try:
                return await self._ask(request)
            except PromptTooLongError:
                return Completion(message=AssistantMessage(), finish_reason="length")
            except LLMError as error:
                raise LLMError(f"{request.key}: {error}") from None

    async def close(self) -> None:
        await self._transport.close()

    async def _ask(self, request: Request) -> Completion:
        payload = self._payload(request)
        parse = partial(parse_completion, tools=request.tools)
        try:
            return await self._transport.ask("chat/completions", payload, request.affinity, parse)
        except LLMError as error:
            if "response_format" not in payload or not _REFUSED_SCHEMA.search(str(error)):
                raise
        self._refused_schemas.add(_written(request.json_schema))
        return await self._transport.ask("chat/completions", self._payload(request), request.affinity, parse)

    async def _meet(self) -> None:
        """Once, before the first request: is a server there, and does it serve the model?"""
        async with self._meeting:
            if self._met:
                return
            try:
                served = await self._transport.ask("models", None, "", parse_models)
            except LLMError as error:
                urls = ", ".join(self._base_urls)
                raise UserError(
                    f"no OpenAI-compatible server answers at {urls}; start one or name others ({error})"
                ) from None
            if self._model is None and len(served) != 1:
                raise UserError(f"the server offers the models {served}; name one of them")
            if self._model is not None and self._model not in served:
                raise UserError(f"the server does not offer the model {self._model!r}; {closest(self._model, served)}")
            self._model = self.name = self._model or served[0]
            self._met = True

    def _payload(self, request: Request) -> dict[str, Any]:
        sampling = self._role_sampling.get(request.role, self._sampling)
        payload = {
            "model": self._model,
            "messages": [_wire(message) for message in request.messages],
            **sampling.model_dump(),
            "seed": request_seed(self._seed, request.key),
            **self._extra_body,
            **self._role_extra_body.get(request.role, {}),
        }
        if request.tools:
            strict = {"strict": True} if self._strict_tools else {}
            specs = [tool.openai() for tool in request.tools]
            payload["tools"] = [{**spec, "function": {**spec["function"], **strict}} for spec in specs]
        if self._is_structured(request):
            schema = {"name": request.role, "schema": request.json_schema, "strict": True}
            payload["response_format"] = {"type": "json_schema", "json_schema": schema}
        return payload

    def _is_structured(self, request: Request) -> bool:
        wanted = request.role in self._structured and bool(request.json_schema)
        return wanted and _written(request.json_schema) not in self._refused_schemas


def request_seed(seed: int, key: str) -> int:
    """31 bits that depend on the run's seed and the request's key alone: not on order, concurrency or replica."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=4).digest()) >> 1


def _wire(message: Message) -> dict[str, Any]:
    """A message as servers take it. vLLM reads earlier thinking from `reasoning`, older servers from `reasoning_content`."""
    wire = message.model_dump(exclude_none=True)
    if reasoning := wire.get("reasoning_content"):
        wire["reasoning"] = reasoning
    return wire


def _written(schema: dict[str, Any] | None) -> str:
    return json.dumps(schema, sort_keys=True)
