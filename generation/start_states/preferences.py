"""Preference pairs: two branches of a fork, one accepted and one rejected through the agent's fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from core.dialogue import Dialogue, JsonTools
from core.json_fields import JsonObject
from core.messages import AssistantMessage, Frozen, Message


class Preference(Frozen):
    """One line of preferences.jsonl: the `prompt` of both branches, and their `chosen` and `rejected` continuations."""

    parent: str
    domain: str
    tools: JsonTools
    late_tools: JsonObject
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    chosen_id: str
    rejected_id: str
    reasons: tuple[str, ...]


def preferences(dialogues: Iterable[Dialogue]) -> Iterator[Preference]:
    """Pairs of branches of the same fork, in input order, each branch in at most one pair. Only forks at which the
    agent acts next: elsewhere the branches answer different user messages."""
    forks: dict[tuple[str, int], list[Dialogue]] = {}
    for dialogue in dialogues:
        length = dialogue.provenance.parent_messages
        if dialogue.verdict and length and isinstance((*dialogue.messages, None)[length], AssistantMessage):
            forks.setdefault((dialogue.provenance.parent or "", length), []).append(dialogue)
    for (parent, length), branches in forks.items():
        accepted = [branch for branch in branches if branch.verdict and branch.verdict.accepted]
        failed = [branch for branch in branches if branch.verdict and branch.verdict.blame == "agent"]
        for chosen, rejected in zip(accepted, failed, strict=False):
            assert rejected.verdict, "filtered above"
            if _comparable(chosen, rejected, length):
                yield Preference(
                    parent=parent,
                    domain=chosen.domain,
                    tools=chosen.tools,
                    late_tools=chosen.late_tools,
                    prompt=chosen.messages[:length],
                    chosen=chosen.messages[length:],
                    rejected=rejected.messages[length:],
                    chosen_id=chosen.dialogue_id,
                    rejected_id=rejected.dialogue_id,
                    reasons=rejected.verdict.reasons,
                )


def _comparable(chosen: Dialogue, rejected: Dialogue, length: int) -> bool:
    """Whether the two branches share prefix and tools at every message, but differ afterwards."""
    same_tools = chosen.tools == rejected.tools and chosen.late_tools == rejected.late_tools
    return (
        same_tools and chosen.messages[:length] == rejected.messages[:length] and chosen.messages != rejected.messages
    )
