"""Which findings of the detector drop a dialogue and which are only reported, on a tiny made-up benchmark."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from core.dialogue import Dialogue
from generation.export.benchmark_texts import BenchmarkData, BenchmarkText, BenchmarkTool
from generation.export.decontamination import Detector, Kind
from tests.generation.helpers.export_dialogues import contamination_settings, dialogue

TINY = BenchmarkData(
    name="tiny",
    version="1",
    tools=(BenchmarkTool(name="find", parameters=frozenset({"hall"}), of="t1"),),
    entities=(BenchmarkText(text="#W1", of="orders"),),
    texts=(BenchmarkText(text="one two three four five six seven eight nine ten", of="t2"),),
    policies=(BenchmarkText(text="Only pending orders can be cancelled, and only for two reasons.", of="shop policy"),),
)
CARRIERS: dict[Kind, Dialogue] = {
    "tools": dialogue("tools", "Hello.", "Hi."),
    "entities": dialogue("entities", "Order #w1!", "Hi.", tools=()),
    "texts": dialogue("texts", "ONE two, three four five six seven eight?", "Hi.", tools=()),
    "policies": dialogue("policies", "Hello.", "No: only pending orders can be cancelled, and only …", tools=()),
}


@pytest.mark.parametrize("kind", CARRIERS)
def test_each_kind_is_dropped_or_only_reported(kind: Kind) -> None:
    policies: dict[str, Any] = {
        "tools": "report",
        "entities": "report",
        "texts": "report",
        "policies": "report",
        "ngram": 8,
    }
    for policy in ("report", "drop"):
        detector = Detector([TINY], contamination_settings(**policies | {kind: policy}))
        removals = {name: detector.removal(carrier) for name, carrier in CARRIERS.items()}
        assert [name for name, removal in removals.items() if removal] == ([kind] if policy == "drop" else [])
        kinds = detector.report()["tiny"].kinds
        assert {name: (of_kind.policy, of_kind.dialogues) for name, of_kind in kinds.items()} == {
            name: (policy if name == kind else "report", 1) for name in CARRIERS
        }


def test_examples_are_the_first_by_id_in_any_order() -> None:
    carriers = [CARRIERS["texts"].model_copy(update={"dialogue_id": f"d{number}"}) for number in range(9)]
    reports = []
    for seed in range(3):
        detector = Detector([TINY], contamination_settings(ngram=8, examples=2))
        for carrier in Random(seed).sample(carriers, 9):
            detector.removal(carrier)
        reports.append(detector.report())
    assert reports[0] == reports[1] == reports[2]
    texts = reports[0]["tiny"].kinds["texts"]
    assert texts.dialogues == 9
    assert [example.dialogue_id for example in texts.examples] == ["d0", "d1"]
