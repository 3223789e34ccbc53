"""The model to train: a published one, or a tiny Qwen3 with its own tokenizer, built from the data."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    set_seed,
)
from transformers.utils import GENERATION_CONFIG_NAME
from transformers.utils.chat_template_utils import render_jinja_template

from core.dialogue import Dialogue
from core.files import link
from core.settings import UserError
from training.attention import implementation
from training.loss import learn_trees
from training.render import template_messages
from training.settings import Attention, ModelSettings, TinySettings

TEMPLATE = Path(__file__).with_name("template.jinja")

CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Never part of a decoded answer."""

MARKUP_TOKENS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
"""One token each, but part of the answer's text: servers parse reasoning and tool calls from it."""

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


def prepare_base(
    settings: ModelSettings, corpus: Iterable[Dialogue], seed: int, directory: Path, root: Path | None = None
) -> None:
    """Put the untrained model and its tokenizer into `directory`, which is below `root`.

    A tiny model is built, with a vocabulary learnt from `corpus`; for a published one `directory` becomes a link to its
    files. Raises UserError if the published model is neither on disk nor on the hub.
    """
    if settings.tiny:
        tokenizer = build_tokenizer(settings.tiny, render_texts(corpus))
        build_model(settings.tiny, tokenizer, seed).save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        return
    assert settings.path, "a model has a path or is tiny"
    source = Path(settings.path)
    if not (source / "config.json").is_file():
        try:
            source = Path(snapshot_download(settings.path))
        except (OSError, ValueError, HfHubHTTPError, LocalEntryNotFoundError) as error:
            raise UserError(
                f"model.path={settings.path} is neither a directory with a config.json nor available from the hub: "
                f"{error}"
            ) from None
    link(directory, source, root or directory.parent)


def check_saving(directory: Path) -> None:
    """Raises UserError if transformers refuses to save the configuration or the tokenizer of the model in `directory`,
    as it does for settings that contradict themselves: a training would end with its first checkpoint."""
    with tempfile.TemporaryDirectory() as scratch:
        for kind in (AutoConfig, AutoTokenizer):
            try:
                kind.from_pretrained(directory).save_pretrained(scratch)
            except Exception as error:
                raise UserError(
                    f"the model {directory.resolve()} could not be saved after training: {' '.join(str(error).split())}"
                ) from None


def copy_generation_config(base: Path, directory: Path) -> None:
    """Copy the sampling defaults of the untrained model in `base` to the trained one in `directory`, if it has any."""
    if (base / GENERATION_CONFIG_NAME).is_file():
        shutil.copyfile(base / GENERATION_CONFIG_NAME, directory / GENERATION_CONFIG_NAME)


def load(directory: Path, attention: Attention, experts: str | None, dtype: torch.dtype) -> PreTrainedModel:
    """Load the model in `directory`, ready to train on token trees. Under ZeRO-3 each process keeps only its
    partition."""
    options = {"experts_implementation": experts} if experts else {}
    name = implementation(attention)
    model = AutoModelForCausalLM.from_pretrained(directory, attn_implementation=name, dtype=dtype, **options)
    # While loading, ZeRO-3 creates every tensor in the weights' dtype, the rotary frequencies included: in bf16 a token
    # at position 32,000 would be rotated several radians differently than where the model is served.
    model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
    if (directory / GENERATION_CONFIG_NAME).is_file():
        # Many published ones contradict themselves, and saving them fails: `copy_generation_config` takes the file.
        model.generation_config = GenerationConfig()
    return learn_trees(model)


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
