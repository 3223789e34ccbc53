"""The user messages of generated and of reference dialogues, for their comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from pydantic import Field

from core.dialogue import Dialogue
from core.journal import read_jsonl
from core.messages import ContractError, UserMessage
from core.settings import Settings, UserError
from generation.metrics.fidelity import BehaviourTally, ResamplingSettings
from generation.start_states.chat_formats import read_conversation
from generation.start_states.conversation_files import conversation_files, raw_conversations


class FidelitySettings(Settings):
    """conf/fidelity.yaml."""

    profile: str = Field(description="not used here; accepted because `make` gives one profile to all stages")
    outputs: Path = Field(description="folder of all runs' outputs")
    data: Path | None = Field(
        description="a generation run, an export or one dialogues.jsonl; null: the newest finished generation"
    )
    reference: Path = Field(
        description="dialogues to compare with, by people: a .json or .jsonl file, or a folder of them, in any format "
        "that start.file takes"
    )
    dialogues: int = Field(ge=2, description="most dialogues of each set; of more, that many are drawn at random")
    resampling: ResamplingSettings


@dataclass
class UserMessages:
    """A random sample of at most `most` dialogues, by their users' messages. `unread` counts what was left out, by the
    kind of fault; `examples` have the first of each kind."""

    most: int
    rng: Random
    read: int = 0
    unread: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    sample: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, messages: Sequence[str]) -> None:
        """Add a dialogue; every one has the same chance to be in the sample."""
        self.read += 1
        if len(self.sample) < self.most:
            self.sample.append(tuple(messages))
        elif (place := self.rng.randrange(self.read)) < self.most:
            self.sample[place] = tuple(messages)

    def leave_out(self, kind: str, example: str) -> None:
        self.unread[kind] += 1
        self.examples.setdefault(kind, example[:200])

    def measured(self) -> BehaviourTally:
        tally = BehaviourTally()
        for messages in self.sample:
            tally.add(messages)
        return tally


def generated_users(files: Sequence[Path], most: int, seed: int) -> UserMessages:
    """What simulated users wrote in accepted dialogues; imported messages do not count. Raises UserError if there is no
    such message."""
    users = UserMessages(most, Random(f"{seed}/generated"))
    for file in files:
        for dialogue in read_jsonl(file, Dialogue):
            messages = [
                message.content for message in dialogue.messages[dialogue.given :] if isinstance(message, UserMessage)
            ]
            if messages:
                users.add(messages)
            else:
                users.leave_out("no message of a user", dialogue.dialogue_id)
    if not users.sample:
        raise UserError(f"{', '.join(map(str, files))}: no dialogue has a message of a simulated user")
    return users


def reference_users(path: Path, most: int, seed: int) -> UserMessages:
    """What people wrote in the dialogues of a file or folder. Raises UserError if fewer than two can be read."""
    users = UserMessages(most, Random(f"{seed}/reference"))
    for file in conversation_files(path):
        for number, raw in enumerate(raw_conversations(file)):
            where = f"{file.name}, dialogue {number}"
            try:
                messages = list(_messages_of(raw))
            except ContractError as error:
                users.leave_out(error.kind, f"{where}: {error}")
            except (ValueError, RecursionError) as error:
                users.leave_out("unreadable", f"{where}: {error}")
            else:
                if messages:
                    users.add(messages)
                else:
                    users.leave_out("no message of a user", where)
    if len(users.sample) < 2:
        faults = "; ".join(f"{kind}: {example}" for kind, example in users.examples.items()) or "it is empty"
        raise UserError(f"reference={path} was given; expected: at least two dialogues that can be read ({faults})")
    return users


def _messages_of(raw: Any) -> Iterator[str]:
    if not isinstance(raw, dict):
        raise ContractError("not a JSON object", "unreadable")
    for message in read_conversation(raw).messages:
        if isinstance(message, UserMessage) and message.content.strip():
            yield message.content
