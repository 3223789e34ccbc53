"""Requests by kind: how many were asked for, written and accepted, what evidence they rest on, and how often the judge
agrees with execution about them."""

from __future__ import annotations

from collections import Counter, defaultdict

from core.dialogue import Dialogue
from core.messages import Frozen


class KindMetrics(Frozen):
    """Tasks of one kind (core.request_kinds.RequestKind). `asked` are requests to the writer, `written` the proved
    tasks in started dialogues, `accepted` those in accepted ones. `judged` counts proved tasks with a judgment,
    `agreed` those of them about which judge and execution agree."""

    asked: int = 0
    written: int = 0
    accepted: int = 0
    judged: int = 0
    agreed: int = 0


class EvidenceMetrics(Frozen):
    """Accepted tasks whose decisions rest on look-ups: mean rows to choose from and mean look-ups, by the number of
    rows that the writer was asked for at least ("" for tasks of other kinds)."""

    tasks: int
    rows: float
    lookups: float


class KindTally:
    """Accumulates dialogues in any order."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._evidence: dict[str, list[int]] = {}

    def add(self, dialogue: Dialogue, accepted: bool) -> None:
        """Add a dialogue with a verdict, or one that no stage judged."""
        for request in dialogue.provenance.writer_requests.values():
            self._counts[request.kind]["asked"] += 1
        verdict = dialogue.verdict
        failed = {check.task for check in verdict.checks if not check.passed} if verdict else set()
        for number, task in enumerate(dialogue.tasks):
            counts = self._counts[task.kind]
            counts["written"] += 1
            counts["accepted"] += accepted
            if verdict and task.is_proved and dialogue.state and number < len(verdict.judgments):
                counts["judged"] += 1
                counts["agreed"] += (verdict.judgments[number].judgment == "valid") == (number not in failed)
            if accepted and task.evidence.rows:
                asked = dialogue.provenance.writer_requests.get(task.task_id)
                least = asked.evidence_rows if asked and task.kind == "evidence" else 0
                wanted = str(least) if least else ""
                sums = self._evidence.setdefault(wanted, [0, 0, 0])
                for place, value in enumerate((1, task.evidence.rows, task.evidence.lookups)):
                    sums[place] += value

    def kinds(self) -> dict[str, KindMetrics]:
        """Kind -> its counts, the most frequent first."""
        ordered = sorted(self._counts.items(), key=lambda item: (-item[1]["written"], item[0]))
        return {kind: KindMetrics(**counts) for kind, counts in ordered}

    def evidence(self) -> dict[str, EvidenceMetrics]:
        """Rows asked for at least -> what the tasks have."""
        ordered = sorted(self._evidence.items(), key=lambda item: int(item[0] or 0))
        return {
            wanted: EvidenceMetrics(tasks=tasks, rows=round(rows / tasks, 2), lookups=round(lookups / tasks, 2))
            for wanted, (tasks, rows, lookups) in ordered
        }
