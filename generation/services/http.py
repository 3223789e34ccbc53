"""Calls operations of an OpenAPI document over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
from yarl import URL

from core.settings import UserError
from generation.services.base import MAX_ANSWER, Answer, UnreachableError
from generation.services.openapi import FORM, Operation


@dataclass(frozen=True)
class HttpService:
    """Where the operations are, by the names of their tools. `headers` are sent with every call."""

    base_url: str
    operations: Mapping[str, Operation]
    headers: Mapping[str, str]
    timeout_s: float

    @classmethod
    def given(
        cls,
        base_url: str | None,
        operations: Mapping[str, Operation],
        header_variables: Mapping[str, str],
        timeout_s: float,
    ) -> HttpService:
        """`header_variables` maps headers to the environment variables that hold them: secrets stay out of manifests.
        Raises UserError for another URL than one of HTTP, and for a variable that is not set."""
        if not base_url or urlsplit(base_url).scheme not in ("http", "https"):
            raise UserError(f"base_url={base_url} was given; expected: the http:// or https:// URL before the paths")
        if unset := [name for name in header_variables.values() if name not in os.environ]:
            raise UserError(f"the environment variable {unset[0]}, which header_variables names, is not set")
        headers = {header: os.environ[name] for header, name in header_variables.items()}
        return cls(base_url.rstrip("/"), operations, headers, timeout_s)


class HttpConnection:
    """Implements generation.services.base.Connection. Redirects are not followed."""

    def __init__(self, service: HttpService) -> None:
        self._service = service
        self._http: aiohttp.ClientSession | None = None

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        try:
            request = sent(self._service.operations[name], arguments)
        except ValueError as error:
            return Answer.failed(str(error))
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=self._service.timeout_s)
            self._http = aiohttp.ClientSession(headers=self._service.headers, timeout=timeout)
        # The URL is encoded already; encoding it again would also resolve dots in its path.
        url = URL(self._service.base_url + request.target, encoded=True)
        try:
            async with self._http.request(
                request.method, url, data=request.body, headers=request.headers, allow_redirects=False
            ) as response:
                content = await _read(response)
                return _answer(response.status, content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            where = f"{request.method} {self._service.base_url}{request.target.partition('?')[0]}"
            raise UnreachableError(f"{where}: {type(error).__name__}: {error}") from None

    def close(self) -> None:
        if self._http is not None:
            closing = asyncio.get_running_loop().create_task(self._http.close())
            _closing.add(closing)
            closing.add_done_callback(_closing.discard)
            self._http = None


_closing: set[asyncio.Task[None]] = set()
"""Sessions being closed: the event loop keeps only weak references to its tasks."""


@dataclass(frozen=True)
class Sent:
    """One HTTP request; `target` is path and query, encoded."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


def sent(operation: Operation, arguments: Mapping[str, Any]) -> Sent:
    """The request for a call. Raises ValueError for an argument that would lead to another path or header."""
    path, query, headers, fields = operation.path, list[tuple[str, str]](), dict[str, str](), dict[str, Any]()
    body: Any = None
    for name, value in arguments.items():
        argument = operation.arguments.get(name)
        if argument is None:
            raise ValueError(f"unknown argument {name!r}; expected: {', '.join(operation.arguments) or 'none'}")
        match argument.place:
            case "path":
                text = _text(value)
                if text in ("", ".", ".."):
                    raise ValueError(f"invalid arguments: {name}: {text!r} cannot be part of a path")
                path = path.replace(f"{{{argument.name}}}", quote(text, safe=""))
            case "query":
                values = value if isinstance(value, list) else [value]
                query += [(argument.name, _text(each)) for each in values]
            case "header":
                text = _text(value)
                if not text.isprintable() or not text.isascii():
                    raise ValueError(f"invalid arguments: {name}: {text!r} cannot be a header")
                headers[argument.name] = text
            case "field":
                fields[argument.name] = value
            case "body":
                body = value
    target = path + (f"?{urlencode(query)}" if query else "")
    if not operation.media_type or (body is None and not fields):
        return Sent(operation.method.upper(), target, headers, None)
    content = fields if body is None else body
    if operation.media_type == FORM:
        pairs = content if isinstance(content, dict) else {"body": content}
        encoded = urlencode([(key, _text(value)) for key, value in pairs.items()])
    else:
        encoded = json.dumps(content, ensure_ascii=False)
    return Sent(operation.method.upper(), target, headers | {"Content-Type": operation.media_type}, encoded.encode())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


async def _read(response: aiohttp.ClientResponse) -> str | None:
    """The body; None if it is too large."""
    content = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        content += chunk
        if len(content) > 4 * MAX_ANSWER:
            return None
    return content.decode(errors="replace")


def _answer(status: int, content: str | None) -> Answer:
    """The body as it is; what says that a call failed is an object with `error`."""
    if content is None or len(content) > MAX_ANSWER:
        return Answer.failed("the result is too large; ask for less")
    if status >= 300:
        return Answer.failed(f"HTTP {status}" + (f": {content[:2000]}" if content.strip() else ""))
    return Answer(content if content.strip() else json.dumps({"status": status}))
