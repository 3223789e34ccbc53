"""A model behind one or more OpenAI-compatible servers (vLLM), over a bare keep-alive HTTP client."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, get_args

from core.messages import AssistantMessage, Message
from core.sampling import Sampling
from core.settings import UserError, closest, typed
from generation.llm.base import Completion, LLMError, Request, Role
from generation.llm.parsing.completion import parse_completion
from generation.llm.replicas import Limits
from generation.llm.transport import PromptTooLongError, RetryPolicy, Transport

ANSWERS_IN_JSON: tuple[Role, ...] = ("tool_maker", "task_writer", "user", "tool_simulator", "judge")
"""The roles whose requests come with the schema of the answer, where its shape is known."""

TRANSPORT_KEYS = (
    *("base_urls", "api_key_env", "timeout_s", "backoff_s", "outage_s"),
    *("max_in_flight", "max_tokens_in_flight", "role_max_in_flight"),
)
"""Settings that do not change what is generated: which servers answer, how long to wait, how many requests at once."""

_LATELY = 32
"""Answers over which their length is averaged."""

_REFUSED_SCHEMA = re.compile(
    r"HTTP (?:400|422|501): .*(?:response_format|json_schema|guided|structured|grammar|schema)", re.I | re.S
)


class OpenAILLM:
    """Implements generation.llm.base.LLM. Cheap to construct; the first request asks the servers what they serve.

    `model` None takes the one model served. `sampling` holds Sampling's fields for every role, `role_sampling` those that
    differ for single roles; `extra_body` goes into each request as it is (reasoning_effort, chat_template_kwargs).
    `role_extra_body` adds to or replaces its top-level fields for single roles. `strict_tools` asks the server to hold
    arguments to their schemas; it holds the answers of the roles in `structured` to the request's schema, unless it refuses
    the schema: then that one is not sent again. Sampling seeds derive from (`seed`, the request's key).

    A server is given at most `max_in_flight` requests and `max_tokens_in_flight` tokens at once, by an estimate of prompts and
    answers (None: any number); `role_max_in_flight` bounds single roles, over all servers. A request is sent up to `retries`
    times more and waits `timeout_s` seconds each time. Without any server the run waits `outage_s` seconds before it gives up.
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
        max_in_flight: int | None = 256,
        max_tokens_in_flight: int | None = None,
        role_max_in_flight: Mapping[Role, int] | None = None,
        timeout_s: float = 600.0,
        retries: int = 5,
        backoff_s: float = 0.5,
        outage_s: float = 600.0,
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
            "role_max_in_flight": role_max_in_flight,
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
        _refuse_no_room(max_in_flight, max_tokens_in_flight, role_max_in_flight or {})
        limits = Limits(max_in_flight, max_tokens_in_flight)
        self._transport = Transport(
            base_urls, api_key_env, limits, RetryPolicy(timeout_s, retries, backoff_s, outage_s)
        )
        self._role_slots = {role: asyncio.Semaphore(most) for role, most in (role_max_in_flight or {}).items()}
        self._answer_tokens: dict[Role, float] = {}
        self._model = model
        self._meeting: asyncio.Task[None] | None = None

    async def complete(self, request: Request) -> Completion:
        """Answer one request. A prompt beyond the model's context gives an empty completion with finish_reason "length":
        that is the dialogue's failure. Raises LLMError after all retries, UserError for a wrong server, model or key."""
        await self._meet()
        async with self._role_slots.get(request.role, nullcontext()):
            try:
                completion = await self._ask(request)
            except PromptTooLongError:
                return Completion(message=AssistantMessage(), finish_reason="length")
            except LLMError as error:
                raise LLMError(f"{request.key}: {error}") from None
        self._learn(request.role, completion.completion_tokens)
        return completion

    async def close(self) -> None:
        if self._meeting:
            self._meeting.cancel()
        await self._transport.close()

    async def _ask(self, request: Request) -> Completion:
        payload = self._payload(request)
        parse = partial(parse_completion, tools=request.tools)
        expected = self._expected(request.role)
        try:
            return _noted(await self._transport.ask("chat/completions", payload, request.affinity, parse, expected))
        except LLMError as error:
            if "response_format" not in payload or not _REFUSED_SCHEMA.search(str(error)):
                raise
        self._refused_schemas.add(_written(request.json_schema))
        payload = self._payload(request)
        return _noted(await self._transport.ask("chat/completions", payload, request.affinity, parse, expected))

    def _expected(self, role: Role) -> int:
        """Tokens of an answer: as many as this role's answers had lately, before the first one as many as it may have."""
        sampling = self._role_sampling.get(role, self._sampling)
        return math.ceil(self._answer_tokens.get(role, sampling.max_tokens))

    def _learn(self, role: Role, tokens: int) -> None:
        before = self._answer_tokens.get(role, tokens)
        self._answer_tokens[role] = before + (tokens - before) / _LATELY

    async def _meet(self) -> None:
        """Once, before the first request: are servers there, and do they serve the model? All requests wait for one meeting; if
        it fails it fails for all of them, and the next request tries again."""
        if self._meeting is None or (self._meeting.done() and (self._meeting.cancelled() or self._meeting.exception())):
            self._meeting = asyncio.create_task(self._introduce())
        if not self._meeting.done():
            await asyncio.shield(self._meeting)

    async def _introduce(self) -> None:
        self._model = self.name = await self._transport.meet(self._choose)

    def _choose(self, url: str, served: list[str]) -> str:
        if self._model is None and len(served) != 1:
            raise UserError(f"the server at {url} offers the models {served}; name one of them")
        if self._model is not None and self._model not in served:
            raise UserError(
                f"the server at {url} does not offer the model {self._model!r}; {closest(self._model, served)}"
            )
        return self._model or served[0]

    def _payload(self, request: Request) -> dict[str, Any]:
        sampling = self._role_sampling.get(request.role, self._sampling)
        payload = {
            "model": self._model,
            "messages": [_wire(message) for message in request.messages],
            **sampling.body(),
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


def _refuse_no_room(requests: int | None, tokens: int | None, roles: Mapping[Role, int]) -> None:
    given = {"max_in_flight": requests, "max_tokens_in_flight": tokens}
    for name, most in (given | {f"role_max_in_flight.{role}": most for role, most in roles.items()}).items():
        if most is not None and most < 1:
            raise UserError(f"{name}={most} was given; expected at least 1, or null for any number")


def request_seed(seed: int, key: str) -> int:
    """31 bits that depend on the run's seed and the request's key alone: not on order, concurrency or replica."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=4).digest()) >> 1


def _wire(message: Message) -> dict[str, Any]:
    """A message as servers take it. vLLM reads earlier thinking from `reasoning`, older servers from `reasoning_content`."""
    wire = message.model_dump(exclude_none=True)
    if reasoning := wire.get("reasoning_content"):
        wire["reasoning"] = reasoning
    return wire


def _noted(answer: tuple[Completion, int]) -> Completion:
    completion, retries = answer
    return replace(completion, retries=retries)


def _written(schema: dict[str, Any] | None) -> str:
    return json.dumps(schema, sort_keys=True)
