"""The summary that a run prints at its end."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from core.journal import write_jsonl
from core.messages import ToolSpec
from core.usage import RoleUsage, Usage
from generation.metrics.diversity import Diversity, DiversityPoint
from generation.metrics.request_kinds import KindMetrics
from generation.metrics.statistics import MeanMax, Statistics
from generation.summary import MAX_DOMAINS, summarise
from generation.tools.toolset import Toolset, ToolsetProvenance
from tests.generation.helpers.pipeline_runs import FinishedRun


def toolset(domain: str, tools: int, refused: int = 0, **counts: int) -> Toolset:
    specs = tuple(
        ToolSpec(name=f"t{i}", description="A tool.", parameters={"type": "object", "properties": {}})
        for i in range(tools)
    )
    return Toolset(domain=domain, description="", tools=specs, refused=("no",) * refused, counts=counts)


def summary(directory: Path, *toolsets: Toolset, statistics: list[Statistics] | None = None) -> str:
    write_jsonl(directory / "toolsets.jsonl", toolsets)
    console = Console(width=160)
    with console.capture() as capture:
        summarise(console, statistics or [], directory)
    return capture.get()


def rows(text: str) -> list[str]:
    """The non-empty lines, with single spaces."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_toolsets_alone_get_a_line_each_and_a_total(tmp_path: Path) -> None:
    text = summary(
        tmp_path,
        toolset("gym", 9, proposed=9, kept=9),
        toolset("rooms", 3, 11, questions=20, proposed=68, trivial=10, conflicts=0, kept=3, schema_conflicts=2),
        toolset("void", 0, 4, proposed=5, kept=0),
    )
    lines = rows(text)
    assert "gym 9 0 proposed 9" in lines
    assert "rooms 3 11 questions 20, proposed 68, trivial 10, schema conflicts 2" in lines
    assert "void 0 4 proposed 5" in lines
    assert "3 domains 12 15 proposed 82, questions 20, trivial 10, schema conflicts 2" in lines
    assert lines[-1] == f"written to {tmp_path}"


def test_many_domains_get_only_a_total(tmp_path: Path) -> None:
    several = [toolset(f"domain{i}", 3, 1, proposed=1000) for i in range(MAX_DOMAINS + 1)]
    lines = rows(summary(tmp_path, *several))
    assert "21 domains 63 21 proposed 21000" in lines
    assert not any(line.startswith("domain") for line in lines)


def test_one_domain_gets_no_total(tmp_path: Path) -> None:
    lines = rows(summary(tmp_path, toolset("gym", 9, proposed=9, kept=9)))
    assert "gym 9 0 proposed 9" in lines
    assert not any(line.startswith("1 domain") for line in lines)


@pytest.mark.parametrize("statistics", [[], None])
def test_without_toolsets_there_is_no_table_of_them(statistics: list[Statistics] | None, tmp_path: Path) -> None:
    assert rows(summary(tmp_path, statistics=statistics)) == [f"written to {tmp_path}"]


def test_dialogues_have_the_tools_in_one_line_and_name_their_preference_pairs(
    executed: FinishedRun, tmp_path: Path
) -> None:
    (tmp_path / "user_oriented_exec").mkdir()
    pairs = tmp_path / "user_oriented_exec" / "preferences.jsonl"
    two = (toolset("gym", 9), toolset("library", 8))
    assert "preference" not in summary(tmp_path, *two, statistics=[executed.statistics])
    pairs.write_text("{}\n{}\n{}\n")
    text = summary(tmp_path, *two, statistics=[executed.statistics])
    assert f"3 preference pairs in {pairs}" in text
    assert "2 domains 17 0 -" in rows(text)
    assert not any(line.startswith("gym") for line in rows(text))
    counts = executed.statistics
    assert f"{counts.accepted}/{counts.rejected}/0" in text


def point(dialogues: int, goals: int) -> DiversityPoint:
    return DiversityPoint(
        dialogues=dialogues,
        goal_skeletons=goals,
        subgoal_skeletons=7,
        plan_shapes=6,
        system_prompts=5,
        tools_used=3,
        tools_declared=4,
    )


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"reasons": {"start": 20}, "blame": {}}, "20 of 30 rejected before they started (start 20)"),
        (
            {"reasons": {"told": 18, "state": 2}, "blame": {"agent": 18, "user": 2}},
            "20 of 30 rejected, blame: agent 18, user 2 (told 18, state 2)",
        ),
        (
            {"turn": MeanMax(mean=9.5, max=20), "task": MeanMax(mean=2.0, max=2)},
            "9.5 turns on average (< 10.0 for 2.0 tasks): the user simulator is not incremental",
        ),
        (
            {"failed": 3, "unanswered": 2},
            "2 dialogues failed because no model responded; see dead_letters.jsonl; the same command retries them",
        ),
        ({"failed": 3, "unanswered": 2}, "1 dialogues failed with an internal error; see dead_letters.jsonl"),
        (
            {"diversity": Diversity(curve=(point(400, 44), point(200, 40)), growth=0.1, saturated=True)},
            "goals repeat themselves: 44 distinct ones without their values in 400 dialogues, 40 in 200 of them; "
            "doubling the dialogues adds 10.0%",
        ),
        (
            {"kinds": {"forbidden": KindMetrics(asked=10, written=4), "changed": KindMetrics(asked=10, written=5)}},
            "few requests of some kinds could be written (forbidden 4 of 10): dialogues with more tools allow more",
        ),
    ],
)
def test_warnings_name_the_cause(
    changes: dict[str, object], warned: str, executed: FinishedRun, tmp_path: Path
) -> None:
    statistics = executed.statistics.model_copy(update={"started": 30, "rejected": 20} | changes)
    assert warned in " ".join(summary(tmp_path, statistics=[statistics]).split())


@pytest.mark.parametrize(
    "kinds", [{"plain": KindMetrics(asked=10)}, {"forbidden": KindMetrics(asked=4)}, {"late_tool": KindMetrics()}]
)
def test_plain_requests_and_a_few_others_are_not_called_scarce(
    kinds: dict[str, KindMetrics], executed: FinishedRun, tmp_path: Path
) -> None:
    statistics = executed.statistics.model_copy(update={"kinds": kinds})
    assert "few requests" not in summary(tmp_path, statistics=[statistics])


def test_a_run_with_one_task_in_a_dialogue_is_not_blamed_for_few_turns(executed: FinishedRun, tmp_path: Path) -> None:
    changes = {"turn": MeanMax(mean=5.5, max=9), "task": MeanMax(mean=1.0, max=1)}
    assert "not incremental" not in summary(tmp_path, statistics=[executed.statistics.model_copy(update=changes)])


def test_the_ledger_shows_each_roles_model_and_its_cut_and_unreadable_answers(
    executed: FinishedRun, tmp_path: Path
) -> None:
    agent = executed.statistics.roles["agent"].model_copy(update={"llm": "big", "requests": 6, "retries": 1})
    flaws = {
        "agent/truncated": 2,
        "agent/malformed": 3,
        "agent/empty": 1,
        "agent/repaired": 9,
        "agent/refused": 5,
        "user/truncated": 7,
    }
    statistics = executed.statistics.model_copy(update={"roles": {"agent": agent}, "flaws": flaws})
    provenance = ToolsetProvenance(
        llm="small",
        usage=Usage(roles={"tool_maker": RoleUsage(requests=5)}, flaws={"tool_maker/truncated": 1}),
    )
    made = toolset("gym", 3).model_copy(update={"provenance": provenance})
    lines = rows(summary(tmp_path, made, statistics=[statistics]))
    assert any(
        line.startswith("user_oriented_exec agent big 6 2 cut, 4 unreadable, 9 repaired, 5 refused 1 ")
        for line in lines
    )
    assert any(line.startswith("toolsets tool_maker small 5 1 cut ") for line in lines)
    other = made.model_copy(update={"provenance": provenance | ToolsetProvenance(llms={"tool_maker": "large"})})
    lines = rows(summary(tmp_path, made, other, statistics=[statistics]))
    assert any(line.startswith("toolsets tool_maker large + small 10 2 cut ") for line in lines)


@pytest.mark.parametrize("changes", [{"accepted": 0}, {"turn": MeanMax(mean=0.0, max=0)}])
def test_users_without_messages_are_not_judged(
    changes: dict[str, object], executed: FinishedRun, tmp_path: Path
) -> None:
    assert "user quality gate" in summary(tmp_path, statistics=[executed.statistics])
    silent = summary(tmp_path, statistics=[executed.statistics.model_copy(update=changes)])
    assert "gate" not in silent
    assert "not incremental" not in silent


def test_diversity_has_a_row_and_no_warning_while_goals_grow(executed: FinishedRun, tmp_path: Path) -> None:
    diversity = Diversity(curve=(point(1400, 1044), point(700, 600)), growth=0.7, saturated=False)
    text = summary(tmp_path, statistics=[executed.statistics.model_copy(update={"diversity": diversity})])
    assert (
        "distinct among accepted dialogues goals without values 1,044, subgoals 7, plan shapes 6, system prompts 5; tools "
        "in gold calls 3 of 4" in rows(text)
    )
    assert "repeat themselves" not in text


def test_rejections_for_telling_alone_have_a_row(executed: FinishedRun, tmp_path: Path) -> None:
    statistics = executed.statistics.model_copy(update={"rejected": 20, "rejected_untold": 7})
    assert "rejected for telling alone 7 of 20" in rows(summary(tmp_path, statistics=[statistics]))
