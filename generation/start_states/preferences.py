"""Preference pairs: two branches of one fork, of which one was accepted and the other failed through the agent's fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from core.dialogue import Dialogue, JsonTools
from core.messages import AssistantMessage, Frozen, Message


class Preference(Frozen):
    """One line of preferences.jsonl: `prompt` is what both branches share, `chosen` and `rejected` are how they went on."""

    parent: str
    domain: str
    tools: JsonTools
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    chosen_id: str
    rejected_id: str
    reasons: tuple[str, ...]


def preferences(dialogues: Iterable[Dialogue]) -> Iterator[Preference]:
    """Pairs of branches of the same fork, each branch in one pair at most, in the order given. Only where the agent was to act
    at the fork: elsewhere the branches answer different words of the user."""
    forks: dict[tuple[str, int], list[Dialogue]] = {}
    for dialogue in dialogues:
        length = dialogue.provenance.parent_messages
        if dialogue.verdict and length and isinstance((*dialogue.messages, None)[length], AssistantMessage):
            forks.setdefault((dialogue.provenance.parent or "", length), []).append(dialogue)
    for (parent, length), branches in forks.items():
        good = [b for b in branches if b.verdict and b.verdict.accepted]
        bad = [b for b in branches if b.verdict and b.verdict.blame == "agent"]
        for chosen, rejected in zip(good, bad, strict=False):
            assert rejected.verdict, "filtered above"
            if _comparable(chosen, rejected, length):
                yield Preference(
                    parent=parent,
                    domain=chosen.domain,
                    tools=chosen.tools,
                    prompt=chosen.messages[:length],
                    chosen=chosen.messages[length:],
                    rejected=rejected.messages[length:],
                    chosen_id=chosen.dialogue_id,
                    rejected_id=rejected.dialogue_id,
                    reasons=rejected.verdict.reasons,
                )


def _comparable(chosen: Dialogue, rejected: Dialogue, length: int) -> bool:
    """Whether both go on from the same, with the same tools, and differently."""
    same = chosen.messages[:length] == rejected.messages[:length] and chosen.tools == rejected.tools
    return same and chosen.messages != rejected.messages
