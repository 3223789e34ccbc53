"""The groups by which validation losses are reported."""

from __future__ import annotations

from training.trainer import loss_groups


def test_a_tree_counts_for_its_source_its_difficulty_and_its_kind_of_database() -> None:
    trained = {"gym", "library"}
    assert loss_groups("ours", "easy", "gym", trained) == [
        "loss/source/ours",
        "loss/difficulty/easy",
        "loss/databases/trained",
    ]
    assert loss_groups("ours", "", "clinic", trained) == ["loss/source/ours", "loss/databases/unseen"]
    assert loss_groups("", "", "", trained) == []
