"""The audit of a dataset: shares counted by hand with a tokenizer of single bytes, and a naive reference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from core.settings import UserError
from scripts.audit import AuditSettings, run_audit
from tests.training.helpers.dialogues import dialogue, late_tool_dialogue
from tests.training.test_render import PLAIN_TEMPLATE, TEXTS, dialogues
from training.audit import Audit, WayAudit, audit
from training.audit_ways import ALL_TURNS, LAST_TURN, MASK, TREES, WAYS, ServedAnswer, served_answers, trained_texts
from training.render import DialogueTemplate

BODY = (
    "{% if m.reasoning_content and loop.index0 > ns.last %}<{{ m.reasoning_content }}>{% endif %}"
    "{{ m.content }}{% for c in m.tool_calls or [] %}({{ c.function.name }}){% endfor %}$"
)
THINKING = (
    "{% set ns = namespace(last=-1) %}"
    "{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m.role == 'assistant' %}A:BODY{% else %}U:{{ m.content }}${% endif %}{% endfor %}"
    "{% if add_generation_prompt %}A:{% endif %}"
).replace("BODY", BODY)
"""Drops the reasoning of earlier turns; "$" is the end of turn, and every character is a token."""
MARKED = THINKING.replace(BODY, "{% generation %}" + BODY + "{% endgeneration %}")


def characters(template: str) -> PreTrainedTokenizerFast:
    core = Tokenizer(
        models.BPE(vocab={c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken("$", special=True, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="$", chat_template=template, clean_up_tokenization_spaces=False
    )


def talk(*messages: Message) -> Dialogue:
    return dialogue(0).model_copy(update={"messages": messages, "task_starts": (0,)})


def say(content: str, reasoning: str | None, call: str | None = None) -> AssistantMessage:
    calls = (ToolCall.make(call, "get_shop", {"record_id": 1}),) if call else None
    return AssistantMessage(content=content, reasoning_content=reasoning, tool_calls=calls)


TWO_TURNS = talk(UserMessage(content="hi"), say("hello", "one"), UserMessage(content="more"), say("there", "three"))
"""As served: <one>hello$ (11 tokens) and <three>there$ (13)."""


def by_way(result: Audit) -> dict[str, WayAudit]:
    assert [way.way for way in result.ways] == list(WAYS)
    return {way.way: way for way in result.ways}


def counted(way: WayAudit) -> tuple[int, int, int, int, int]:
    return way.trained_tokens, way.unserved_tokens, way.prompt_tokens, way.answers, way.affected_answers


@pytest.mark.parametrize("template", [THINKING, MARKED])
def test_shares_of_two_turns_counted_by_hand(template: str) -> None:
    result = audit([TWO_TURNS], characters(template))
    assert (result.dialogues, result.answers, result.answer_tokens) == (1, 2, 24)
    assert result.markers is (template == MARKED)
    ways = by_way(result)
    # The second prompt has "hello$", not "<one>hello$": all of the second answer follows another context.
    assert counted(ways[ALL_TURNS]) == (24, 13, 0, 2, 1)
    # "hello$" without its thought: the context of "h" is the served prompt, those of "ello$" are not.
    assert counted(ways[MASK]) == (19, 5, 0, 2, 1)
    assert counted(ways[LAST_TURN]) == (13, 0, 0, 1, 0)
    assert counted(ways[TREES]) == (24, 0, 0, 2, 0)
    assert ways[ALL_TURNS].share == pytest.approx(13 / 24)


def test_a_goodbye_after_the_last_answer_changes_nothing() -> None:
    goodbye = talk(*TWO_TURNS.messages, UserMessage(content="bye"))
    assert audit([goodbye], characters(THINKING)).ways == audit([TWO_TURNS], characters(THINKING)).ways


def test_the_first_difference_is_shown_with_its_surroundings() -> None:
    ways = by_way(audit([TWO_TURNS], characters(THINKING)))
    kept = ways[ALL_TURNS].first
    assert kept
    assert (kept.dialogue_id, kept.message) == (TWO_TURNS.dialogue_id, 3)
    assert (kept.before, kept.trained, kept.served) == ("U:hi$A:", "<one>hello$U", "hello$U:more")
    masked = ways[MASK].first
    assert masked
    assert (masked.message, masked.before, masked.trained, masked.served) == (
        1,
        "U:hi$A:",
        "hello$U:more",
        "<one>hello$",
    )
    assert ways[TREES].first is None


def test_one_turn_of_calls_is_served_in_every_way() -> None:
    """All reasoning belongs to the current turn."""
    calls = talk(
        UserMessage(content="hi"), say("", "a", "1"), ToolMessage(tool_call_id="1", content="x"), say("b", "c")
    )
    for way in by_way(audit([calls], characters(THINKING))).values():
        assert counted(way) == (len("<a>(get_shop)$") + len("<c>b$"), 0, 0, 2, 0), way.way


def test_a_thought_that_the_prompt_opens_is_of_the_prompt() -> None:
    """The prompt ends with "<"; by the assistant's header it is trained as well."""
    opening = THINKING.replace("%}A:{% endif %}", "%}A:<{% endif %}")
    ways = by_way(audit([TWO_TURNS], characters(opening)))
    assert counted(ways[TREES]) == (22, 0, 0, 2, 0)
    # The dropped thought leaves "hello$" where the server has opened one: now "h" differs as well.
    assert counted(ways[MASK]) == (6 + 13, 6, 1, 2, 1)
    assert counted(ways[LAST_TURN]) == (13, 0, 1, 1, 0)


def test_a_token_across_the_end_of_the_prompt_changes_all_contexts_after_it(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """Without reasoning, the answer's line break merges with the prompt's, as in published tokenizers."""
    silent = talk(UserMessage(content="hi"), say("hello", None))
    ways = by_way(audit([silent], tokenizer))
    for way in (ALL_TURNS, MASK, LAST_TURN):
        assert ways[way].unserved_tokens > 0, way
        first = ways[way].first
        assert first
        assert first.before.endswith("<think>"), "the same text, in other tokens"
        assert (first.trained[:3], first.served[:4]) == ("\n\n|", "\n|\n|")
    assert ways[TREES].unserved_tokens == 0


def naive(tokens: Sequence[int], runs: Sequence[tuple[int, int, int]], served: Sequence[ServedAnswer]) -> int:
    """Trained tokens whose context is none of the served ones, by a set of all of them; and none of those that the
    answer's own prompt has."""
    contexts = {
        tuple(answer.tokens[:end].tolist()) for answer in served for end in range(answer.prompt, len(answer.tokens))
    }
    prompts = {answer.position: tuple(answer.tokens[: answer.prompt].tolist()) for answer in served}
    unserved = 0
    for position, first, end in runs:
        prompt = prompts.get(position, ())
        for index in range(first, end):
            of_prompt = index < len(prompt) and tuple(tokens[: index + 1]) == prompt[: index + 1]
            unserved += tuple(tokens[:index]) not in contexts and not of_prompt
    return unserved


@pytest.mark.parametrize("template", [None, PLAIN_TEMPLATE, MARKED], ids=["thinking", "plain", "marked"])
@settings(max_examples=25, deadline=None)
@given(source=dialogues(st.one_of(st.none(), TEXTS)))
def test_counts_equal_a_naive_reference(
    tokenizer: PreTrainedTokenizerFast, template: str | None, source: Dialogue
) -> None:
    chosen = characters(template) if template == MARKED else deepcopy(tokenizer)
    if template == PLAIN_TEMPLATE:
        chosen.chat_template = template
    result = audit([source], chosen)
    rendered = DialogueTemplate(source, chosen, {})
    served = served_answers(rendered)
    assert result.refused == 0
    for way in result.ways:
        texts = list(trained_texts(way.way, rendered, result.markers))
        assert way.unserved_tokens == sum(naive(text.tokens.tolist(), text.runs, served) for text in texts), way.way
        assert way.trained_tokens == sum(end - first for text in texts for _, first, end in text.runs)
    trees = by_way(result)[TREES]
    assert (trees.unserved_tokens, trees.prompt_tokens) == (0, 0)
    assert (trees.trained_tokens, trees.answers) == (result.answer_tokens, result.answers)


def test_late_tools_and_imported_messages_are_audited(tokenizer: PreTrainedTokenizerFast) -> None:
    result = audit([late_tool_dialogue(0), late_tool_dialogue(1, given=4)], tokenizer)
    answers = sum(
        isinstance(message, AssistantMessage) for number in (0, 1) for message in late_tool_dialogue(number).messages
    )
    assert (result.dialogues, result.answers) == (2, answers)
    assert by_way(result)[TREES].unserved_tokens == 0


def test_a_dialogue_that_the_template_refuses_is_counted() -> None:
    refusing = THINKING.replace(
        "{% set ns", "{% if messages[0].content == 'no' %}{{ raise_exception('bad') }}{% endif %}{% set ns"
    )
    refused = talk(UserMessage(content="no"), say("hello", None))
    result = audit([refused, TWO_TURNS], characters(refusing))
    assert (result.dialogues, result.refused) == (1, 1)
    assert result.refusal
    assert "bad" in result.refusal


def openai_line(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": list(messages)}


def test_any_file_of_conversations_is_audited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In OpenAI's format and ShareGPT's; what cannot be read is counted by kind."""
    turns = [
        ("user", "hi"), ("assistant", "<think>\none\n</think>\n\nhello"),
        ("user", "more"), ("assistant", "<think>\nthree\n</think>\n\nthere"),
    ]  # fmt: skip
    lines = [
        openai_line(*({"role": role, "content": content} for role, content in turns)),
        {
            "conversations": [
                {"from": {"user": "human", "assistant": "gpt"}[role], "value": text} for role, text in turns
            ]
        },
        openai_line({"role": "user", "content": "no answer"}),
    ]
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps(lines))
    characters(THINKING).save_pretrained(tmp_path / "model")
    chosen = AuditSettings(data=file, model=str(tmp_path / "model"), outputs=tmp_path / "outputs")
    directory = run_audit(chosen)
    results = json.loads((directory / "audit.json").read_text())
    assert (results["dialogues"], results["shares"][ALL_TURNS], results["shares"][TREES]) == (2, 26 / 48, 0.0)
    assert sum(results["unread"].values()) == 1
    assert "| all turns, reasoning kept | 48 | 26 | 54.2 % | 0 | 4 | 2 |" in (
        text := (directory / "audit.md").read_text()
    )
    assert "trained  '<one>hello$U'…\nserved   'hello$U:more'…" in text
    assert "| token trees (ours) | 48 | 0 | 0.0 % |" in capsys.readouterr().out
    assert directory.parent.name == "audit"


def test_the_projects_template_is_the_default_and_another_one_can_be_given(tmp_path: Path) -> None:
    file = tmp_path / "dialogues.jsonl"
    file.write_text("".join(f"{dialogue(number).model_dump_json()}\n" for number in range(3)))
    plain = tmp_path / "plain.jinja"
    plain.write_text(PLAIN_TEMPLATE)
    shares = []
    for template in (None, plain):
        directory = run_audit(AuditSettings(data=file, template=template, outputs=tmp_path / "outputs", limit=2))
        results = json.loads((directory / "audit.json").read_text())
        assert results["dialogues"] == 2
        shares.append(results["shares"][ALL_TURNS])
    assert shares[0] > 0.2, "two of three turns have contexts with too much reasoning"
    assert shares[1] == 0.0, "a template without reasoning never drops any"


@pytest.mark.parametrize(
    ("content", "model", "message"),
    [
        ('{"messages": []}', None, "dialogues that can be rendered"),
        (
            '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "x"}]}',
            "/none",
            "a hub id",
        ),
    ],
)
def test_what_cannot_be_audited_is_one_error(content: str, model: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(content)
    with pytest.raises(UserError, match=message):
        run_audit(AuditSettings(data=file, model=model, outputs=tmp_path / "outputs"))
