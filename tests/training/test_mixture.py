"""The choice of training and validation dialogues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.dialogue import Dialogue, Difficulty
from core.journal import RecordError, write_jsonl
from core.messages import ToolMessage
from core.settings import UserError
from tests.training.helpers.dialogues import dialogue
from training.mixture import LineRef, MixtureSettings, find_data, label, mix, read_chosen

DOMAINS = ("shop", "club", "clinic", "farm")


def settings(**changed: Any) -> MixtureSettings:
    values: dict[str, Any] = {
        "weights": {"user_oriented_exec": 1},
        "limit": None,
        "validation_domains": 1,
        "validation_share": 0.2,
        "validation_limit": 6,
    }
    return MixtureSettings(**{**values, **changed})


def write(folder: Path, counts: dict[str, int]) -> tuple[Path, ...]:
    for pipeline, count in counts.items():
        dialogues = [dialogue(n, domain=DOMAINS[n % 4], pipeline=pipeline, turns=1) for n in range(count)]
        write_jsonl(folder / pipeline / "dialogues.jsonl", dialogues)
    return find_data(folder)


def ids(files: tuple[Path, ...], chosen: tuple[LineRef, ...]) -> list[str]:
    return [dialogue.dialogue_id for dialogue in read_chosen(files, chosen)]


def test_no_task_and_no_held_out_database_is_in_both_splits(tmp_path: Path) -> None:
    # The same 40 goals in both pipelines: a dialogue of one may not train the task that the other validates.
    files = write(tmp_path, {"user_oriented": 40, "user_oriented_exec": 40})
    mixture = mix(files, settings(weights={"user_oriented": 1, "user_oriented_exec": 1}), seed=0)
    train, validation = (list(read_chosen(files, chosen)) for chosen in (mixture.train, mixture.validation))
    assert not {t.goal for d in train for t in d.tasks} & {t.goal for d in validation for t in d.tasks}
    (held_out,) = mixture.validation_domains
    assert held_out not in {d.domain for d in train}
    assert {d.domain for d in train} == set(DOMAINS) - {held_out}
    # Half of it on the held-out database, half on trained ones.
    assert [d.domain == held_out for d in validation].count(True) == 3
    assert len(validation) == 6
    assert mixture.shared_tasks > 0


def test_weights_downsample_the_larger_source(tmp_path: Path) -> None:
    files = write(tmp_path, {"user_oriented": 80, "user_oriented_exec": 20})
    both = {"weights": {"user_oriented": 1, "user_oriented_exec": 2}, "validation_domains": 0, "validation_share": 0.05}
    sources = mix(files, settings(**both), seed=0).sources
    assert sources["user_oriented_exec"] == pytest.approx(2 * sources["user_oriented"], abs=1)
    assert sources["user_oriented_exec"] >= 18
    assert sum(mix(files, settings(**both, limit=9), seed=0).sources.values()) == 9
    only = mix(files, settings(weights={"user_oriented": 1, "user_oriented_exec": 0}), seed=0)
    assert set(only.sources) == {"user_oriented"}


def test_the_same_seed_chooses_the_same(tmp_path: Path) -> None:
    files = write(tmp_path, {"user_oriented_exec": 40})
    first = mix(files, settings(limit=10), seed=0)
    assert mix(files, settings(limit=10), seed=0) == first
    assert mix(files, settings(limit=10), seed=1).train != first.train


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weights": {"task_oriented": 1}}, r"wants task_oriented, but the data has user_oriented_exec \(8\)"),
        ({"weights": {}}, "wants no pipeline"),
        ({"validation_domains": 4}, "leave 0 to train"),
    ],
)
def test_an_impossible_mixture_names_the_reason(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        mix(write(tmp_path, {"user_oriented_exec": 8}), settings(**changed), seed=0)


def test_data_that_is_missing_repeated_or_not_a_dialogue(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a generation run"):
        find_data(tmp_path)
    (file,) = write(tmp_path, {"user_oriented_exec": 8})
    assert find_data(file) == (file,)
    with pytest.raises(UserError, match="8 dialogues occur more than once"):
        mix((file, file), settings(), seed=0)
    file.write_text(file.read_text() + "{}\n")
    with pytest.raises(UserError, match="line 9: not a Dialogue: dialogue_id: Field required"):
        mix((file,), settings(), seed=0)


def test_dialogues_without_a_rollout_are_refused(tmp_path: Path) -> None:
    drafts = [dialogue(n).model_copy(update={"messages": (), "task_starts": ()}) for n in range(3)]
    write_jsonl(tmp_path / "dialogues.jsonl", drafts)
    with pytest.raises(UserError, match=r"3 dialogues have tasks but no rollout, the first is 'user_oriented_exec-"):
        mix(find_data(tmp_path), settings(), seed=0)


def test_the_chosen_dialogues_are_read_from_their_positions(tmp_path: Path) -> None:
    files = write(tmp_path, {"user_oriented": 20, "user_oriented_exec": 20})
    weights = {"user_oriented": 1, "user_oriented_exec": 1}
    mixture = mix(files, settings(weights=weights, validation_domains=0), seed=0)
    # In the order of the files, each once, nothing in both splits; a part can be read separately.
    written = [
        Dialogue.model_validate_json(line).dialogue_id for file in files for line in file.read_text().splitlines()
    ]
    train, validation = ids(files, mixture.train), ids(files, mixture.validation)
    assert train == [name for name in written if name in train]
    assert len(train) == len(set(train)) == sum(mixture.sources.values())
    assert not set(train) & set(validation)
    assert [*ids(files, mixture.train[0::2]), *ids(files, mixture.train[1::2])] == [*train[0::2], *train[1::2]]
    (files[0]).write_text("{}\n" * 100)
    with pytest.raises(RecordError, match="not a Dialogue"):
        ids(files, mixture.train)


def test_invalid_lines_are_errors_or_counted(tmp_path: Path) -> None:
    valid = [dialogue(n, domain=DOMAINS[n % 4], turns=1) for n in range(12)]
    shuffled = valid[3].model_copy(update={"messages": valid[3].messages[::-1]})
    unanswered = dialogue(1, turns=4)
    results = [m for m in unanswered.messages if isinstance(m, ToolMessage)]
    unanswered = unanswered.model_copy(
        update={"dialogue_id": "x", "messages": tuple(m for m in unanswered.messages if m is not results[0])}
    )
    other = dialogue(0, pipeline="user_oriented").model_copy(update={"messages": ()})
    file = tmp_path / "dialogues.jsonl"
    write_jsonl(file, [other, *valid[:3], shuffled, unanswered, *valid[4:]])
    message = r"dialogues.jsonl, line 5: the dialogue breaks the message contract: .*after 'start'.*skip_invalid=true"
    with pytest.raises(UserError, match=message):
        mix((file,), settings(), seed=0)
    file.write_text(file.read_text() + '{"dialogue_id": "torn')
    mixture = mix((file,), settings(skip_invalid=True, validation_domains=0), seed=0)
    assert mixture.skipped == {"roles out of order": 1, "unanswered call": 1, "not a dialogue": 1}
    chosen = {*ids((file,), mixture.train), *ids((file,), mixture.validation)}
    assert chosen == {d.dialogue_id for d in valid} - {shuffled.dialogue_id}
    write_jsonl(file, [shuffled])
    with pytest.raises(UserError, match=r"has user_oriented_exec \(1\) of which 1 are invalid"):
        mix((file,), settings(skip_invalid=True), seed=0)


@pytest.mark.parametrize(
    ("difficulties", "hardest"),
    [(("easy",), "easy"), (("medium", "easy"), "medium"), (("easy", "hard", "medium"), "hard")],
)
def test_a_dialogue_is_labelled_by_source_and_hardest_task(
    difficulties: tuple[Difficulty, ...], hardest: Difficulty
) -> None:
    unlabelled = dialogue(0, pipeline="user_oriented")
    tasks = tuple(unlabelled.tasks[0].model_copy(update={"difficulty": difficulty}) for difficulty in difficulties)
    assert label(unlabelled.model_copy(update={"tasks": tasks})) == ("user_oriented", hardest)
