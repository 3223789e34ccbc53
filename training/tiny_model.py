"""A tiny Qwen3 with random weights, and its own tokenizer, learnt from the data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, set_seed
from transformers.utils.chat_template_utils import render_jinja_template

from core.dialogue import Dialogue
from training.chat_format import CONTROL_TOKENS, MARKUP_TOKENS, TEMPLATE
from training.render import template_messages
from training.settings import TinySettings

PHRASES = (
    '{"type": "function", "function": {"name": "',
    '", "description": "',
    '", "parameters": {"type": "object", "properties": {"',
    '": {"type": "string", "description": "',
    '": {"type": "integer", "description": "',
    '": {"type": "number", "description": "',
    '"}, "',
    '"}}, "required": ["',
    '"]}}}',
    '{"name": "',
    '", "arguments": {"',
)
"""The fixed text of tool specs and tool calls. It fills most of a prompt; as single tokens it halves the prompt's
length."""

PIECES = "|".join(
    [
        *map(re.escape, PHRASES),
        r" ?\p{Ll}+",
        r"_\p{Ll}+",
        r"\p{L}\p{Ll}*",
        r"\p{N}",
        r"[\r\n]+",
        r"[^\s\p{L}\p{N}]+(?: [^\s\p{L}\p{N}]+)*",
        r"\s",
    ]
)
"""Pre-tokenizer pieces: no merge crosses their borders. A capital, digit or quote is never joined with the space before
it, so a name or number has the same tokens in a user's sentence and in a JSON argument: a tiny model then learns to
copy it."""


def build_tiny(settings: TinySettings, corpus: Iterable[Dialogue], seed: int, directory: Path) -> None:
    """Save an untrained model, and a tokenizer with a vocabulary learnt from `corpus`, into `directory`."""
    tokenizer = build_tokenizer(settings, render_texts(corpus))
    build_model(settings, tokenizer, seed).save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def build_tokenizer(settings: TinySettings, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with Qwen3's special tokens and chat format."""
    added = len(CONTROL_TOKENS) + len(MARKUP_TOKENS)
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary - added,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.add_special_tokens([AddedToken(token, special=True) for token in CONTROL_TOKENS])
    core.add_tokens([AddedToken(token, special=False, normalized=False) for token in MARKUP_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=TEMPLATE.read_text(),
        model_max_length=settings.max_positions,
        clean_up_tokenization_spaces=False,
    )


def build_model(settings: TinySettings, tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen3ForCausalLM:
    """A Qwen3 with random weights, and the generation defaults published with Qwen3-Thinking."""
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    config = Qwen3Config(
        vocab_size=settings.vocabulary,
        hidden_size=settings.hidden,
        intermediate_size=settings.intermediate,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads,
        head_dim=settings.head_dim,
        max_position_embeddings=settings.max_positions,
        initializer_range=settings.initializer_range,
        tie_word_embeddings=True,
        eos_token_id=eos,
        pad_token_id=pad,
        bos_token_id=None,
    )
    set_seed(seed)
    model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=0.6, top_p=0.95, top_k=20, eos_token_id=[eos, pad], pad_token_id=pad
    )
    return model


def render_texts(corpus: Iterable[Dialogue]) -> Iterator[str]:
    """The dialogues in the chat format, so that the vocabulary fits what the model will read."""
    template = TEMPLATE.read_text()
    for dialogue in corpus:
        tools = [tool.openai() for tool in dialogue.tools]
        texts, _ = render_jinja_template([template_messages(dialogue.messages)], tools=tools, chat_template=template)
        yield from texts
