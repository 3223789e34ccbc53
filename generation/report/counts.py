"""What statistics.json does not hold: distributions, and counts by difficulty, by domain, and by reason and blame."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from core.dialogue import Dialogue
from generation.metrics.statistics import reason_kinds
from generation.metrics.user_quality import FaultExample
from generation.outcomes import Outcome

MEASURES = {"turn": "turns per dialogue", "step": "steps per request", "task": "tasks per dialogue"} | {
    "user_turns": "user turns per dialogue"
}
"""Table 1's measures (Appendix B), and the user turns."""


def blame_of(outcome: Outcome) -> str:
    """Who is to blame for a rejection; "" if it is not known."""
    verdict = outcome.dialogue.verdict if outcome.dialogue else None
    return (verdict and verdict.blame) or ""


class Counts:
    """Accumulates outcomes; memory does not grow with their number. `examples` are messages to keep the text of.

    `histograms` are of accepted dialogues. `difficulties` counts tasks as "asked", "written" and "accepted", as
    generation.metrics.request_kinds does by kind; `domains` counts dialogues by status. `reasons` and `alone` count
    dialogues that are not accepted by kind of reason and blame, `alone` those without another kind; `first` counts each
    of them once, by its first reason. `failures` counts failed and unreadable dialogues by kind of reason.
    """

    def __init__(self, examples: Mapping[str, FaultExample]) -> None:
        self.status: Counter[str] = Counter()
        self.histograms: dict[str, Counter[int]] = {name: Counter() for name in MEASURES}
        self.difficulties: dict[str, Counter[str]] = defaultdict(Counter)
        self.domains: dict[str, Counter[str]] = defaultdict(Counter)
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.alone: Counter[tuple[str, str]] = Counter()
        self.first: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.first_examples: dict[str, str] = {}
        self.example_texts: dict[str, str] = {}
        self._examples = examples

    def add(self, outcome: Outcome) -> None:
        self.status[outcome.status] += 1
        kinds = reason_kinds(outcome)
        if kinds and (outcome.status == "failed" or "unreadable" in kinds):
            self.failures[kinds[0]] += 1
            self.first_examples.setdefault(kinds[0], f"{outcome.dialogue_id}: {outcome.reasons[0]}")
        elif outcome.status == "rejected" and kinds:
            blame = blame_of(outcome)
            self.first[kinds[0]] += 1
            self.reasons.update((kind, blame) for kind in kinds)
            self.alone.update([(kinds[0], blame)] if len(kinds) == 1 else [])
        if outcome.dialogue:
            self.domains[outcome.dialogue.domain][outcome.status] += 1
            self._add_tasks(outcome.dialogue, outcome.status)
            self._keep_examples(outcome.dialogue)
            if outcome.status == "accepted":
                self._add_accepted(outcome.dialogue)

    def _add_tasks(self, dialogue: Dialogue, status: str) -> None:
        if status == "failed":
            return
        for request in dialogue.provenance.writer_requests.values():
            self.difficulties[request.difficulty]["asked"] += 1
        for task in dialogue.tasks:
            self.difficulties[task.difficulty].update(["written", *(["accepted"] if status == "accepted" else [])])

    def _add_accepted(self, dialogue: Dialogue) -> None:
        self.histograms["turn"][dialogue.turns] += 1
        self.histograms["task"][len(dialogue.tasks)] += 1
        self.histograms["user_turns"][dialogue.user_turns] += 1
        self.histograms["step"].update(count for count in dialogue.steps() if count)

    def _keep_examples(self, dialogue: Dialogue) -> None:
        for kind, example in self._examples.items():
            if example.dialogue_id == dialogue.dialogue_id and example.position < len(dialogue.messages):
                self.example_texts[kind] = dialogue.messages[example.position].content
