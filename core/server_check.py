"""Checks that a server's parsers fit its model: one question that needs a tool call, one that needs words.

Only what the server visibly got wrong counts: a complete call or reasoning left in the text, or an answer swallowed as
reasoning. That a model does not call the tool, or breaks its call, proves nothing: it may be weak or untrained, and
must still be evaluable.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from core.parsers import Family, family_of
from core.server_protocol import exceeds_context, is_transient, open_url
from core.settings import UserError

TOOL = "get_weather"
CALL_QUESTION: dict[str, Any] = {
    "messages": [{"role": "user", "content": "What is the weather in Paris? Use the tool."}],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": TOOL,
                "description": "The current weather in a city.",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string", "description": "Name of the city."}},
                    "required": ["city"],
                },
            },
        }
    ],
}
WORDS_QUESTION: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Say in one short sentence what a library is for."}]
}
MAX_TOKENS = 2048
"""Limit of an answer: a model that never ends proves nothing, and should not take long over it."""
LAST_TOKENS = 12
"""Tokens at a prompt's end among which an opening tag is looked for."""
QUOTED = 120
"""Characters of an answer that a message quotes."""

_THINKING_TAGS = (
    ("<think>", "</think>", "qwen3"),
    ("[THINK]", "[/THINK]", "mistral"),
    ("<seed:think>", "</seed:think>", "seed_oss"),
)
"""(opening tag, closing tag, vLLM's parser)"""
_CHANNELS = re.compile(r"\s*(?:<\|channel\|>(?:analysis|commentary|final)\b|analysis(?=.*assistantfinal))", re.S)
"""GPT-OSS's channels, with or without their special tokens."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with an answer. `readable`: a client that reads markup itself can still use the server."""

    text: str
    fatal: bool = True
    readable: bool = False


@dataclass(frozen=True)
class _Answer:
    content: str = ""
    reasoning: str = ""
    calls: int = 0
    cut: bool = False
    """By the limit on its tokens."""
    refusal: str = ""
    """The text of an HTTP error, or why there was no answer."""
    status: int = 0


@dataclass(frozen=True)
class AskedServer:
    """A server that answers the two questions."""

    base_url: str
    model: str
    key: str
    body: dict[str, Any]
    """Fields of every request."""
    timeout_s: float

    def ask(self, question: dict[str, Any]) -> _Answer:
        limit = min(self.body.get("max_tokens") or MAX_TOKENS, MAX_TOKENS)
        try:
            reply = self._post(f"{self.base_url}/chat/completions", self.body | question | {"max_tokens": limit})
            choice = reply["choices"][0]
            message = choice["message"]
            return _Answer(
                content=_text(message.get("content")),
                reasoning=_text(message.get("reasoning") or message.get("reasoning_content")),
                calls=len(message.get("tool_calls") or ()),
                cut=choice.get("finish_reason") == "length",
            )
        except urllib.error.HTTPError as error:
            text = " ".join(error.read().decode(errors="replace").split())[:500]
            return _Answer(refusal=f"HTTP {error.code}: {text}", status=error.code)
        except (OSError, HTTPException, ValueError, LookupError, TypeError, AttributeError) as error:
            return _Answer(refusal=f"{type(error).__name__}: {error}")

    def prompt_opens_thinking(self) -> bool:
        """Whether the prompt of WORDS_QUESTION ends with an opening tag of reasoning, as far as the server tells: vLLM
        does, others may not."""
        request = WORDS_QUESTION | {"add_generation_prompt": True, "return_token_strs": True}
        if kwargs := self.body.get("chat_template_kwargs"):
            request["chat_template_kwargs"] = kwargs
        try:
            reply = self._post(f"{self.base_url.removesuffix('/v1')}/tokenize", request)
            end = "".join(reply["token_strs"][-LAST_TOKENS:])
        except (OSError, HTTPException, ValueError, LookupError, TypeError, AttributeError):
            return False
        return any(end.rfind(opening) > end.rfind(closing) for opening, closing, _ in _THINKING_TAGS)

    def _post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(url, json.dumps({"model": self.model} | body).encode(), headers)
        with open_url(request, self.timeout_s) as response:
            reply: dict[str, Any] = json.load(response)
        return reply


def check_server(
    base_url: str,
    model: str,
    key: str = "",
    body: Mapping[str, Any] | None = None,
    *,
    reads_markup: bool = False,
    timeout_s: float = 300.0,
) -> tuple[str, ...]:
    """Ask `model` two questions with the request fields `body` (sampling, chat_template_kwargs); return warnings.

    With `reads_markup` the client finds calls and reasoning in the text itself; that the server does not is then only a
    warning. A server that does not answer is not this check's concern: the requests that follow report it.

    Raises UserError if the server's parsers do not fit the model, or if it refuses tools.
    """
    server = AskedServer(base_url.rstrip("/"), model, key, dict(body or {}), timeout_s)
    with ThreadPoolExecutor(2) as pool:
        call, words = pool.map(server.ask, (CALL_QUESTION, WORDS_QUESTION))
    findings = [*_about_call(call, words), *_about_words(words, server)]
    errors = [f.text for f in findings if f.fatal and not (f.readable and reads_markup)]
    if errors:
        raise UserError("\n".join(f"{model} at {base_url}: {text}" for text in errors))
    return tuple(f"{model} at {base_url}: {finding.text}" for finding in findings)


def _about_call(answer: _Answer, words: _Answer) -> Iterator[Finding]:
    """Findings on the answer to CALL_QUESTION."""
    if answer.refusal:
        refused = answer.status // 100 == 4 and not is_transient(answer.status) and not exceeds_context(answer.refusal)
        if refused and not words.refusal:
            yield Finding(
                f"the server refuses requests with tools: {answer.refusal}; start vLLM with --enable-auto-tool-choice "
                "--tool-call-parser and the model's parser (serving.tool_call_parser=auto)"
            )
        else:
            yield Finding(f"no answer to a question with a tool ({answer.refusal})", fatal=False)
    elif answer.calls:
        return
    elif family := _complete_call(answer.content):
        yield Finding(
            "the server left the tool call in the text: the model needs another parser; start vLLM with "
            f"--enable-auto-tool-choice --tool-call-parser {family.tools} (seen: {family.markup[0]})",
            readable=True,
        )
    elif answer.cut:
        yield Finding("whether the server reads tool calls is unknown: the answer was cut off", fatal=False)
    else:
        yield Finding(
            f"the model did not call the tool when asked to (its answer: {_quote(answer.content)}); a weak model, or "
            "one whose calls this server does not know",
            fatal=False,
        )


def _about_words(answer: _Answer, server: AskedServer) -> Iterator[Finding]:
    """Findings on the answer to WORDS_QUESTION."""
    if answer.refusal:
        yield Finding(f"no answer to a plain question ({answer.refusal})", fatal=False)
    elif answer.cut:
        yield Finding(
            "whether the server splits reasoning from answers is unknown: the answer was cut off", fatal=False
        )
    elif not answer.reasoning and (parser := _left_thinking(answer.content)):
        yield Finding(
            "the server left the reasoning in the text: start vLLM with the model's reasoning parser, such as "
            f"--reasoning-parser {parser} (its answer: {_quote(answer.content)})",
            readable=True,
        )
    elif answer.reasoning and not answer.content.strip():
        if server.prompt_opens_thinking():
            yield Finding("the model ended its answer within its reasoning, as untrained models do", fatal=False)
        else:
            yield Finding(
                "the reasoning parser takes the whole answer for reasoning, and nothing is left to say "
                f"(reasoning: {_quote(answer.reasoning)}); start vLLM without --reasoning-parser "
                "(serving.reasoning_parser=null) if the model does not think"
            )
    elif not answer.content.strip():
        yield Finding("the model answers a plain question with nothing", fatal=False)


def _complete_call(text: str) -> Family | None:
    """The family in whose markup `text` has a complete call of TOOL, which its parser would have read."""
    family = family_of(text)
    if family is None or TOOL not in text:
        return None
    call = text[text.find(family.markup[0]) + len(family.markup[0]) :].strip().removeprefix("```json").strip()
    if not call.startswith(("{", "[{")):  # the name comes first, then the arguments
        call = call.partition(TOOL)[2]
        if "</parameter>" in call or "</arg_value>" in call:
            return family
        call = call[max(call.find("{"), 0) :]
    try:
        value, _ = json.JSONDecoder().raw_decode(call)
    except ValueError:
        return None
    return family if value and isinstance(value, dict | list) else None


def _left_thinking(content: str) -> str | None:
    """The parser that would have removed the reasoning from `content`; None if there is none. The closing tag may be
    alone, since many prompts contain the opening one; an opening tag counts only where the text begins."""
    for opening, closing, parser in _THINKING_TAGS:
        if closing in content or content.lstrip().startswith(opening):
            return parser
    return "openai_gptoss" if _CHANNELS.match(content) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _quote(text: str) -> str:
    plain = " ".join(text.split())
    return repr(plain if len(plain) <= QUOTED else plain[:QUOTED] + "…")
