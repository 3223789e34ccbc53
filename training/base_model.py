"""The untrained model of a training: a published one, from disk, the hub or an installed package, or one built tiny."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from core.dialogue import Dialogue
from core.files import link
from core.runs import sha256
from core.settings import UserError
from training.chat_format import CONTROL_TOKENS, MARKUP_TOKENS, TEMPLATE
from training.run_layout import MODELS
from training.settings import ModelSettings
from training.tiny_model import build_tiny


@dataclass(frozen=True)
class Weights:
    """A published model's files: a directory as transformers saves it, or `gguf`, one file in it with everything.
    `origin` says where they were found."""

    directory: Path
    origin: str
    gguf: str | None = None

    def content(self) -> str:
        """The hash of the files, for the key of what is made from them."""
        return sha256(self.directory / self.gguf if self.gguf else self.directory)


def prepare_base(
    settings: ModelSettings, corpus: Iterable[Dialogue], seed: int, directory: Path, root: Path | None = None
) -> str:
    """Put the untrained model and its tokenizer into `directory`, which is below `root`. Returns where its weights come
    from.

    A tiny model is built, with a vocabulary learnt from `corpus`; for a published one `directory` becomes a link to its
    files, or to what is made from them once: weights out of a package, or a model that is given our chat format.
    Raises UserError if the published model is neither on disk nor on the hub, nor in its package.
    """
    if settings.tiny:
        build_tiny(settings.tiny, corpus, seed, directory)
        return f"random, seed {seed}"
    root = root or directory.parent
    weights = find_weights(settings)
    if weights.gguf or settings.markup_slots:
        link(directory, _adopted(weights, settings.markup_slots, root / MODELS), root)
    else:
        link(directory, weights.directory, root)
    return weights.origin


def find_weights(settings: ModelSettings) -> Weights:
    """The published model in the directory `settings.path`, from the hub, or from `settings.package`, in this order.
    Raises UserError if none of them has it."""
    assert settings.path, "a model has a path or is tiny"
    local = Path(settings.path)
    if (local / "config.json").is_file():
        return Weights(local, f"directory {local}")
    try:
        snapshot = Path(snapshot_download(settings.path))
        return Weights(snapshot, f"hub, {settings.path} at {snapshot.name}")
    except (OSError, ValueError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        if settings.package and (weights := packaged(settings.package)):
            return weights
        package = f", and the package {settings.package} is not installed" if settings.package else ""
        raise UserError(
            f"model.path={settings.path} is neither a directory with a config.json nor available from the hub{package}: "
            f"{error}"
        ) from None


def packaged(package: str) -> Weights | None:
    """The GGUF file that an installed package carries; None if it is not installed. The package is not imported.
    Raises UserError if it carries none or several."""
    try:
        found_package = distribution(package)
    except PackageNotFoundError:
        return None
    files = found_package.files or []
    found = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    if len(found) != 1:
        raise UserError(f"model.package={package} has {len(found)} GGUF files; expected one")
    return Weights(found[0].parent, f"package {package} {found_package.version}", found[0].name)


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


def _adopted(weights: Weights, slots: tuple[int, ...] | None, cache: Path) -> Path:
    """The directory in `cache` with the model in transformers' format and, with `slots`, in our chat format. It is made
    once."""
    parts = [weights.content(), slots, TEMPLATE.read_text(), transformers.__version__]
    directory = cache / hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    if (directory / "config.json").is_file():
        return directory
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as scratch:
        made = Path(scratch) / "model"
        tokenizer = AutoTokenizer.from_pretrained(weights.directory, gguf_file=weights.gguf)
        with contextlib.redirect_stderr(io.StringIO()):  # two progress bars of some seconds
            model = _plain(AutoModelForCausalLM.from_pretrained(weights.directory, gguf_file=weights.gguf))
        if slots:
            tokenizer = with_chat_format(tokenizer, slots, model.config.max_position_embeddings)
            _end_turns(model, tokenizer)
        model.to(torch.bfloat16).save_pretrained(made)
        tokenizer.save_pretrained(made)
        try:
            made.rename(directory)
        except OSError:
            if not (directory / "config.json").is_file():  # if another run was faster, its result is the same
                raise
    return directory


def _plain(model: PreTrainedModel) -> PreTrainedModel:
    """The model without the note that its weights were quantized, which they no longer are: saving would be refused."""
    if getattr(model.config, "quantization_config", None) is None:
        return model
    config = type(model.config).from_dict({**model.config.to_dict(), "quantization_config": None})
    del config.quantization_config
    fresh: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    fresh.load_state_dict(model.state_dict())
    return fresh


def with_chat_format(
    tokenizer: PreTrainedTokenizerBase, slots: tuple[int, ...], max_positions: int
) -> PreTrainedTokenizerFast:
    """The tokenizer with our chat template, and with the special tokens `slots` renamed to its markup, one each. Their
    embeddings stay: those of unused tokens differ from each other, as the markup's must. Raises UserError if one of
    the ids is not a special token, or if the tokenizer lacks the template's control tokens."""
    state: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    added = {token["id"]: token for token in state["added_tokens"] if token["special"]}
    if missing := [slot for slot in slots if slot not in added]:
        raise UserError(
            f"model.markup_slots names token {missing[0]}; expected ids of special tokens: {sorted(added)[:40]}"
        )
    vocabulary = state["model"]["vocab"]
    for slot, markup in zip(slots, MARKUP_TOKENS, strict=True):
        vocabulary.pop(added[slot]["content"], None)
        vocabulary[markup] = slot
        added[slot] |= {"content": markup, "special": False}
    contents = {token["content"] for token in added.values()}
    if lacking := [token for token in CONTROL_TOKENS if token not in contents]:
        raise UserError(f"model.markup_slots was given, but the tokenizer has no {lacking[0]}, which our template uses")
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=TEMPLATE.read_text(),
        model_max_length=max_positions,
        clean_up_tokenization_spaces=False,
    )


def _end_turns(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Make the model's configuration end and pad texts as the tokenizer does."""
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    for config in (model.config, model.generation_config):
        config.eos_token_id, config.pad_token_id, config.bos_token_id = eos, pad, None
