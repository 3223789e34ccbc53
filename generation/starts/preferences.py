"""Preference pairs: two branches of one fork, of which one was accepted and the other failed through the agent's fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from core.dialogue import Dialogue, JsonTools
from core.messages import Frozen, Message


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
    """Pairs of branches of the same fork, each branch in one pair at most, in the order given."""
    forks: dict[tuple[str, int], list[Dialogue]] = {}
    for dialogue in dialogues:
        if "parent" in dialogue.provenance and dialogue.verdict:
            key = (dialogue.provenance["parent"], dialogue.provenance["parent_messages"])
            forks.setdefault(key, []).append(dialogue)
    for (parent, length), branches in forks.items():
        good = [b for b in branches if b.verdict and b.verdict.accepted]
        bad = [b for b in branches if b.verdict and b.verdict.blame == "agent"]
        for chosen, rejected in zip(good, bad, strict=False):
            assert rejected.verdict, "filtered above"
            if len(rejected.messages) > length and chosen.messages[:length] == rejected.messages[:length]:
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
