"""make audit data=FILE [model=DIRECTORY|HUB_ID]: the share of trained tokens whose context no server ever renders.

    make audit data=dialogues.jsonl          with the project's template and a tokenizer of the data
    make audit data=dataset.jsonl model=Qwen/Qwen3-4B-Thinking-2507 limit=500
    make audit data=outputs/generate/latest model=CHECKPOINT template=training/template.jinja

`data` is a file or folder of conversations in OpenAI's format or its usual variants (see start.file), a generation run
or an export. Writes audit.json and audit.md to outputs/audit/<run id>/.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pydantic import Field
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from core.console import stage_console
from core.dialogue import Dialogue
from core.files import write_atomically, write_json
from core.messages import ContractError
from core.runs import open_run, sha256
from core.settings import Settings, UserError, typed
from generation.start_states.conversation_files import conversation_files, raw_conversations
from generation.start_states.start_states import read_dialogue
from scripts.launch import CONF, clear_errors, read_settings
from training.audit import audit
from training.audit_report import audit_text
from training.mixture import find_data
from training.settings import TinySettings
from training.tiny_model import build_tokenizer, render_texts


class AuditSettings(Settings):
    """Settings of make audit."""

    data: Path = Field(description="conversations: a .json or .jsonl file, a folder, a generation run or an export")
    model: str | None = Field(
        default=None,
        description="directory or hub id whose tokenizer and chat template are used; null: the project's template, with "
        "a tokenizer built from the data",
    )
    template: Path | None = Field(default=None, description="chat template to use instead of the model's own")
    chat_template_kwargs: dict[str, Any] = Field(default={}, description="variables of the chat template")
    limit: int = Field(default=1000, ge=1, description="dialogues to audit, the first ones")
    outputs: Path = Field(default=Path("outputs"), description="directory of all runs")


def main() -> None:
    with clear_errors():
        run_audit(read_settings(sys.argv[1:], AuditSettings))


def run_audit(settings: AuditSettings) -> Path:
    """Audit and write the results; returns the run's directory. Raises UserError if nothing can be audited."""
    console = stage_console()
    files = _files(settings.data)
    unread: Counter[str] = Counter()
    examples: dict[str, str] = {}
    dialogues = list(islice(_dialogues(files, unread, examples), settings.limit))
    tokenizer = _tokenizer(settings, dialogues)
    inputs = {f"{file.parent.name}/{file.name}": sha256(file) for file in files}
    with open_run(settings.outputs, "audit", settings.model_dump(mode="json"), inputs, neutral=("outputs",)) as job:
        result = audit(dialogues, tokenizer, settings.chat_template_kwargs)
        if not result.dialogues:
            why = (
                result.refusal or "; ".join(f"{kind}: {example}" for kind, example in examples.items()) or "it is empty"
            )
            raise UserError(f"data={settings.data} was given; expected: dialogues that can be rendered ({why})")
        model = settings.model or "the project, with a tokenizer of the data"
        name = f"{model} ({settings.template})" if settings.template else model
        text = audit_text(result, str(settings.data), name, unread)
        write_atomically(job.directory / "audit.md", text)
        shares = {way.way: way.share for way in result.ways}
        results = result.model_dump(mode="json") | {"shares": shares, "unread": dict(unread), "examples": examples}
        write_json(job.directory / "audit.json", results)
        job.finish(results)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print(f"written to {job.directory}", soft_wrap=True)
    return job.directory


def _files(data: Path) -> tuple[Path, ...]:
    """The files of a run or an export, or any conversations."""
    try:
        return find_data(data)
    except UserError:
        return conversation_files(data)


def _dialogues(files: tuple[Path, ...], unread: Counter[str], examples: dict[str, str]) -> Iterator[Dialogue]:
    """All dialogues with an answer; others are counted in `unread` by kind, with the first of each in `examples`."""
    for file in files:
        for number, raw in enumerate(raw_conversations(file), start=1):
            where = f"{file.stem}-{number}"
            try:
                dialogue = read_dialogue(raw, where)
                if not any(message.role == "assistant" for message in dialogue.messages):
                    raise ContractError("no answer to train on", "empty")
            except (ValueError, RecursionError) as error:
                kind = error.kind if isinstance(error, ContractError) else "unreadable"
                unread[kind] += 1
                examples.setdefault(kind, f"{where}: {error}"[:300])
            else:
                yield dialogue


def _tokenizer(settings: AuditSettings, dialogues: list[Dialogue]) -> PreTrainedTokenizerBase:
    if settings.model is None:
        tiny = typed(OmegaConf.load(CONF / "model" / "tiny.yaml").tiny, TinySettings)
        tokenizer: PreTrainedTokenizerBase = build_tokenizer(tiny, render_texts(dialogues))
    else:
        try:
            tokenizer = AutoTokenizer.from_pretrained(settings.model)
        except (OSError, ValueError) as error:
            raise UserError(
                f"model={settings.model} was given; expected a directory with a tokenizer, or a hub id: "
                f"{' '.join(str(error).split())[:300]}"
            ) from None
    if settings.template:
        tokenizer.chat_template = settings.template.read_text(encoding="utf-8")
    if not tokenizer.chat_template:
        raise UserError(f"model={settings.model} has no chat template; expected one, or template=FILE")
    return tokenizer


if __name__ == "__main__":
    main()
