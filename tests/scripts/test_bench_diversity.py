"""bench-diversity: its curves against a recount, several runs next to each other, saturation, and embeddings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer

from core.embeddings import effective_number, embed, mean_distance
from core.journal import write_jsonl
from core.settings import UserError
from generation.metrics.diversity import digest
from scripts.bench import diversity
from tests.scripts.helpers.bench_runs import published
from tests.scripts.helpers.goal_dialogues import dialogues


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """A run of 250 dialogues with ten goals, and one with 250."""
    folders = [tmp_path / "few", tmp_path / "many"]
    for folder, goals in zip(folders, (10, 250), strict=True):
        write_jsonl(folder / "p" / "dialogues.jsonl", dialogues(250, goals))
    return folders


def test_runs_are_measured_next_to_each_other(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = diversity.DiversitySettings(outputs=tmp_path, data=tuple(runs), names=("before", "after"), similar=20)
    content = published(diversity.measure(settings), settings.directory)
    curves = content["notes"]["curves"]
    assert list(curves) == ["before", "after"]
    for name, goals in (("before", 10), ("after", 250)):
        ordered = sorted(dialogues(250, goals), key=lambda dialogue: digest(dialogue.dialogue_id))
        assert [point["dialogues"] for point in curves[name]] == [100, 125, 200, 250]
        for point in curves[name]:
            first = ordered[: point["dialogues"]]
            texts = [dialogue.tasks[0].goal for dialogue in first]
            assert point["goal_skeletons"] == point["subgoal_skeletons"] == len(set(texts))
            words = [word for text in texts for word in text.split()]
            assert point["distinct_1"] == round(len(set(words)) / len(words), 4)
            assert (point["plan_shapes"], point["system_prompts"], point["tool_coverage"]) == (1, 1, 0.3333)
    assert curves["before"][-1]["self_similarity"] == 1.0, "every dialogue has a double"
    assert curves["after"][-1]["self_similarity"] == 0.0, "no two have three words in common"
    assert [metric["value"] for metric in content["metrics"]] == [0.0, 1.0]
    assert [metric["met"] for metric in content["metrics"]] == [False, True]
    printed = capsys.readouterr().out
    assert "before: the goals are saturated" in printed
    assert "after: the goals are saturated" not in printed
    assert (settings.directory / "diversity.png").stat().st_size > 10_000


def test_at_most_so_many_dialogues_are_kept_the_first_by_hash(runs: list[Path]) -> None:
    sample = diversity.read_sample(runs[1], "many", 30)
    ordered = sorted(dialogues(250, 250), key=lambda dialogue: digest(dialogue.dialogue_id))
    assert [of_dialogue.goals[0] for of_dialogue in sample.dialogues] == [d.tasks[0].goal for d in ordered[:30]]
    assert sample.available == 250


def test_wrong_names_and_empty_data_are_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected: a different name for each of 2 data sets"):
        diversity.measure(diversity.DiversitySettings(outputs=tmp_path, data=tuple(runs), names=("a", "a")))
    write_jsonl(tmp_path / "none.jsonl", [])
    with pytest.raises(UserError, match="none of its dialogues has a task"):
        diversity.measure(diversity.DiversitySettings(outputs=tmp_path, data=(tmp_path / "none.jsonl",)))


def test_sizes() -> None:
    assert diversity.sizes(930) == [100, 200, 465, 500, 930]
    assert diversity.sizes(100) == [50, 100]
    assert diversity.sizes(10_000)[-3:] == [2000, 5000, 10_000]


vectors = st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any), min_size=2, max_size=6)


@given(vectors)
def test_the_spread_of_vectors_equals_a_naive_computation(rows: list[list[int]]) -> None:
    units = np.array(rows, dtype=float)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    pairs = [1 - units[i] @ units[j] for i in range(len(units)) for j in range(len(units)) if i != j]
    assert mean_distance(units) == pytest.approx(np.mean(pairs))
    kernel = units @ units.T / len(units)
    eigenvalues = [value for value in np.linalg.eigvalsh(kernel) if value > 1e-12]
    assert effective_number(units) == pytest.approx(np.exp(-sum(v * np.log(v) for v in eigenvalues)))


def test_orthogonal_and_equal_vectors() -> None:
    assert effective_number(np.eye(4)) == pytest.approx(4.0)
    assert mean_distance(np.eye(4)) == pytest.approx(1.0)
    assert effective_number(np.tile(np.eye(4)[0], (5, 1))) == pytest.approx(1.0)


def test_embeddings_are_means_over_tokens_whatever_the_padding(tiny_model: Path) -> None:
    texts = ["find Rex", "find the pet with the longest name of all"]
    together, alone = embed(str(tiny_model), texts), embed(str(tiny_model), texts[:1])
    assert np.allclose(together[0], alone[0], atol=1e-5)
    assert np.allclose(embed(str(tiny_model), texts[::-1]), together[::-1], atol=1e-5)
    tokens = AutoTokenizer.from_pretrained(str(tiny_model))(texts[0], return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        mean = (
            AutoModel.from_pretrained(str(tiny_model))(input_ids=tokens).last_hidden_state[0].double().mean(0).numpy()
        )
    assert np.allclose(alone[0], mean / np.linalg.norm(mean), atol=1e-5)


def test_the_spread_of_embeddings_is_part_of_the_curve(runs: list[Path], tmp_path: Path, tiny_model: Path) -> None:
    settings = diversity.DiversitySettings(outputs=tmp_path, data=tuple(runs), embedding=str(tiny_model), similar=5)
    curves = json.loads(json.dumps(diversity.measure(settings).notes["curves"]))
    last = {name: points[-1] for name, points in curves.items()}
    assert 0 < last["few"]["embedding_distance"] < 2
    assert 1 < last["few"]["effective_goals"] < last["many"]["effective_goals"]


def test_an_embedding_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was given, but it cannot be loaded"):
        embed(str(tmp_path / "no-model"), ["x"])
