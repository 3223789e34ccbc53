"""Training data from several runs: which dialogues are the same, and what the manifest says."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from pathlib import Path

import hydra
import pytest

from core.journal import write_jsonl
from core.provenance import Provenance
from core.settings import UserError, typed
from tests.helpers.paths import CONF
from tests.training.helpers.dialogues import dialogue
from tests.training.test_mixture import DOMAINS, settings
from training.mixture import find_data, mix, name_files, read_chosen
from training.settings import TrainSettings


def run_of(folder: Path, config: str | None, first: int = 0, count: int = 20, shift: int = 0) -> Path:
    """A generation run whose dialogue number i has the content of number i + `shift`."""
    lines = []
    for number in range(first, first + count):
        content = dialogue(number + shift, domain=DOMAINS[number % 4], turns=1)
        name = dialogue(number, domain=DOMAINS[number % 4], turns=1).dialogue_id
        provenance = Provenance(config=config) if config else Provenance()
        lines.append(content.model_copy(update={"dialogue_id": name, "provenance": provenance}))
    write_jsonl(folder / "user_oriented_exec" / "dialogues.jsonl", lines)
    return folder


def test_runs_of_different_seeds_are_mixed_though_their_ids_are_equal(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / name, name, shift=100 * number) for number, name in enumerate("abc")]
    chosen = []
    for order in permutations(runs):
        files = find_data(*order)
        mixture = mix(files, settings(validation_domains=0), seed=0)
        train = list(read_chosen(files, mixture.train))
        chosen.append([(d.provenance.config, d.dialogue_id) for d in train])
        assert len(set(chosen[-1])) == len(train) == 60 - len(mixture.validation)
    assert chosen == [chosen[0]] * 6, "the order of the runs does not matter"
    limited = mix(find_data(*runs), settings(validation_domains=0, limit=20), seed=0)
    numbers = Counter(d.dialogue_id for d in read_chosen(find_data(*runs), limited.train))
    assert len(numbers) > 10, "equal numbers of different runs are drawn independently"


@pytest.mark.parametrize(
    ("configs", "first", "count"),
    [
        (("a", "a"), 10, 10),  # the same run twice, or a run and its export
        (("a", "b"), 10, 10),  # the same seed with another n
        ((None, None), 15, 5),
    ],
)
def test_the_same_dialogue_of_two_runs_is_refused(
    tmp_path: Path, configs: tuple[str | None, str | None], first: int, count: int
) -> None:
    runs = [run_of(tmp_path / "one", configs[0]), run_of(tmp_path / "two", configs[1], first)]
    message = rf"{count} dialogues occur more than once.*one/.*dialogues.jsonl and .*two/.*another seed"
    with pytest.raises(UserError, match=message):
        mix(find_data(*runs), settings(), seed=0)


def test_one_run_is_chosen_from_as_without_its_configuration(tmp_path: Path) -> None:
    plain, configured = (find_data(run_of(tmp_path / str(config), config)) for config in (None, "a"))
    mixtures = [mix(files, settings(), seed=3) for files in (plain, configured)]
    for split in ("train", "validation"):
        first, second = (
            [d.dialogue_id for d in read_chosen(files, getattr(mixture, split))]
            for files, mixture in zip((plain, configured), mixtures, strict=True)
        )
        assert first == second


def test_files_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    one, two = (run_of(tmp_path / name, name) for name in ("one", "two"))
    assert list(name_files(find_data(one))) == ["user_oriented_exec/dialogues.jsonl"]
    names = name_files(find_data(two, one))
    assert list(names) == [f"{run}/user_oriented_exec/dialogues.jsonl" for run in ("one", "two")]
    assert [file.read_text() for file in names.values()] == [file.read_text() for file in find_data(one, two)]


def test_a_source_that_is_missing_or_given_twice_is_named(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "a")
    (tmp_path / "link").symlink_to(run)
    with pytest.raises(UserError, match=r"run was given twice"):
        find_data(run, tmp_path / "link")
    with pytest.raises(UserError, match=r"nothing was given as data: expected a generation run"):
        find_data(run, tmp_path / "nothing")


@pytest.mark.parametrize(
    ("word", "data"), [("data=a", (Path("a"),)), ("data=[a,b]", (Path("a"), Path("b"))), ("seed=0", None)]
)
def test_data_is_one_source_or_a_list(word: str, data: tuple[Path, ...] | None) -> None:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        assert typed(hydra.compose("train", ["profile=tiny", word]), TrainSettings).data == data
