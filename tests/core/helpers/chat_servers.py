"""A server whose two answers, one to a question with a tool and one to a plain question, a test decides."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "tested"


def said(content: str | None, reasoning: str | None = None, finish_reason: str = "stop") -> dict[str, Any]:
    """A chat completion of text."""
    return _completion({"content": content, "reasoning": reasoning}, finish_reason)


def called(name: str = "get_weather", arguments: str = '{"city": "Paris"}') -> dict[str, Any]:
    """A chat completion with a parsed tool call."""
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
    return _completion({"content": None, "tool_calls": [call]}, "tool_calls")


def _completion(message: dict[str, Any], finish_reason: str) -> dict[str, Any]:
    message = {"role": "assistant", "tool_calls": [], **message}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}


@dataclass
class ChatServer:
    """`tool` and `plain` answer the questions, each a completion or (HTTP status, text); `prompt` is what /tokenize
    returns, None if the server has no such path."""

    tool: dict[str, Any] | tuple[int, str]
    plain: dict[str, Any] | tuple[int, str]
    prompt: list[str] | None = None
    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, str]:
        self.seen.append(body)
        if path == "/tokenize":
            return (404, "") if self.prompt is None else (200, json.dumps({"token_strs": self.prompt}))
        reply = self.tool if "tools" in body else self.plain
        return reply if isinstance(reply, tuple) else (200, json.dumps(reply))


@contextmanager
def answering(server: ChatServer) -> Iterator[ChatServer]:
    """Serve on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.reply(*server.answer(self.path, body))

        def do_GET(self) -> None:
            self.reply(200, json.dumps({"data": [{"id": MODEL}]}))

        def reply(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
