"""Training samples against vLLM's rendering of the same messages."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Message, ToolMessage, ToolSpec
from core.server_check import AskedServer
from core.servers import Server, free_ports, running
from tests.helpers.paths import ROOT
from tests.training.helpers.dialogues import dialogue, late_tool_dialogue
from training.audit import audit
from training.audit_ways import ALL_TURNS, TREES, trained_texts
from training.base_model import prepare_base
from training.render import DialogueTemplate, render
from training.settings import ModelSettings, TinySettings

pytestmark = pytest.mark.slow

DIALOGUES = [dialogue(number, turns=4) for number in range(6)]


def unreasoned(source: Dialogue) -> Dialogue:
    """As in most public data: no reasoning, every call made twice at once, with and without a text."""
    messages: list[Message] = []
    for number, message in enumerate(source.messages):
        if isinstance(message, ToolMessage):
            messages += [message, message.model_copy(update={"tool_call_id": f"{message.tool_call_id}_again"})]
        elif isinstance(message, AssistantMessage) and message.tool_calls:
            (call,) = message.tool_calls
            both = (call, call.model_copy(update={"id": f"{call.id}_again"}))
            messages.append(AssistantMessage(content="\nTwice." if number % 2 else "", tool_calls=both))
        else:
            messages.append(message.model_copy(update={"reasoning_content": None}) if number > 1 else message)
    changed = source.model_copy(update={"messages": tuple(messages)})
    changed.check()
    return changed


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny: TinySettings) -> Path:
    folder = tmp_path_factory.mktemp("served") / "model"
    prepare_base(ModelSettings(tiny=tiny), DIALOGUES, 0, folder)
    return folder


@pytest.fixture(scope="module")
def vllm(model: Path) -> Iterator[str]:
    """The base URL of vLLM's request renderer."""
    (port,) = free_ports(1)
    script = ROOT / "tests/training/helpers/render_server.py"
    command = [sys.executable, str(script), "--model", str(model), "--host", "127.0.0.1", "--port", str(port)]
    environment = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    server = Server((*command, "--served-model-name", "model"), port, model.parent / "render.log", environment)
    with running([server], "vLLM's renderer", 240) as (url,):
        yield url.removesuffix("/v1")


def client_message(message: Message) -> dict[str, Any]:
    """A message as clients send it: vLLM reads earlier reasoning from `reasoning`."""
    plain = message.model_dump(exclude_none=True)
    reasoning = plain.pop("reasoning_content", None)
    return plain if reasoning is None else {**plain, "reasoning": reasoning}


def tokenize(url: str, messages: Sequence[Message], tools: tuple[ToolSpec, ...], kwargs: dict[str, Any]) -> list[int]:
    """vLLM's prompt for the answer that follows `messages`, with the variables `kwargs` of the chat template."""
    body: dict[str, Any] = {
        "model": "model",
        "messages": [client_message(message) for message in messages],
        "tools": [tool.openai() for tool in tools],
        "add_generation_prompt": True,
        "chat_template_kwargs": kwargs,
    }
    request = urllib.request.Request(f"{url}/tokenize", json.dumps(body).encode(), {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as response:
        tokens: list[int] = json.load(response)["tokens"]
    return tokens


def prompts(source: Dialogue, model: Path, kwargs: dict[str, Any]) -> list[list[int]]:
    """The tokens before each run of trained tokens."""
    prefixes = []
    tokenizer = AutoTokenizer.from_pretrained(model)
    for sample in render(source, tokenizer, 1 << 20, chat_template_kwargs=kwargs).samples:
        learnt = set(sample.trained)
        prefixes += [sample.input_ids[:start] for start in sample.trained if start - 1 not in learnt]
    return prefixes


def test_the_check_of_servers_sees_whether_the_prompt_opens_the_reasoning(vllm: str) -> None:
    for value in (True, False):
        body = {"chat_template_kwargs": {"enable_thinking": value}}
        assert AskedServer(f"{vllm}/v1", "model", "", body, 60).prompt_opens_thinking() is value


@pytest.mark.parametrize("kwargs", [{}, {"enable_thinking": False}, {"preserve_thinking": True}])
def test_every_answer_follows_the_prompt_that_vllm_renders(kwargs: dict[str, Any], vllm: str, model: Path) -> None:
    """With the variables of the chat template that training and evaluation share, and the tools of each turn."""
    late = [late_tool_dialogue(number) for number in range(3)]
    for source in [*DIALOGUES, *map(unreasoned, DIALOGUES), *late]:
        messages = source.messages
        if kwargs.get("enable_thinking") is False:  # the served model wrote no reasoning
            messages = tuple(message.model_copy(update={"reasoning_content": None}) for message in messages)
        answers = [index for index, message in enumerate(messages) if isinstance(message, AssistantMessage)]
        served = [tokenize(vllm, messages[:index], source.tools_at(index), kwargs) for index in answers]
        assert prompts(source, model, kwargs) == served


def test_the_audit_counts_contexts_that_vllm_does_not_render(vllm: str, model: Path) -> None:
    """All turns in one text, with the contexts that follow vLLM's prompts listed one by one."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    unserved = trained = 0
    for source in DIALOGUES:
        rendered = DialogueTemplate(source, tokenizer, {})
        (text,) = trained_texts(ALL_TURNS, rendered, False)
        contexts = set()
        for index, message in enumerate(source.messages):
            if isinstance(message, AssistantMessage):
                prompt = tokenize(vllm, source.messages[:index], source.tools_at(index), {})
                words = f"{message.reasoning_content}\n</think>\n\n{message.content}"
                calls = [
                    f'<tool_call>\n{{"name": "{call.name}", "arguments": {call.function.arguments}}}\n</tool_call>'
                    for call in message.tool_calls or ()
                ]
                answer = tokenizer(f"{words}{''.join(calls)}<|im_end|>", add_special_tokens=False)["input_ids"]
                contexts |= {(*prompt, *answer[:length]) for length in range(len(answer))}
        tokens = text.tokens.tolist()
        places = [index for _, first, end in text.runs for index in range(first, end)]
        trained += len(places)
        unserved += sum(tuple(tokens[:index]) not in contexts for index in places)
    ways = {way.way: way for way in audit(DIALOGUES, tokenizer).ways}
    assert (ways[ALL_TURNS].trained_tokens, ways[ALL_TURNS].unserved_tokens) == (trained, unserved)
    assert 0 < unserved < trained
    assert ways[TREES].unserved_tokens == 0
