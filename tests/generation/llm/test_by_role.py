"""A model per role: whom each request reaches, and what provenance and statistics say."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from core.dialogue import Dialogue
from core.journal import read_jsonl
from core.messages import AssistantMessage
from generation.llm.base import Completion, Request
from generation.llm.by_role import LLMByRole
from generation.pipeline import DomainTools
from generation.scripted.llm import ScriptedLLM
from tests.generation.helpers.misbehaving_servers import REQUEST
from tests.generation.helpers.pipeline_runs import run_to_end
from tests.scripts.helpers.generate_runs import GYM, generate


@dataclass
class Named:
    """Answers with its name; counts its requests."""

    name: str
    seen: list[str] = field(default_factory=list)
    closed: bool = False

    async def complete(self, request: Request) -> Completion:
        self.seen.append(request.role)
        return Completion(AssistantMessage(content=self.name), model=self.name)

    async def close(self) -> None:
        self.closed = True


async def test_each_role_reaches_its_own_model_and_all_are_closed() -> None:
    default, judge = Named("big"), Named("small")
    llm = LLMByRole(default, {"judge": judge})
    for role in ("agent", "judge", "user", "judge"):
        completion = await llm.complete(replace(REQUEST, role=role))
        assert completion.model == ("small" if role == "judge" else "big")
    assert (llm.name, default.seen, judge.seen) == ("big", ["agent", "user"], ["judge", "judge"])
    await llm.close()
    assert (default.closed, judge.closed) == (True, True)


class OtherScripted(ScriptedLLM):
    name = "other"


def test_a_run_records_which_model_played_which_role(domains: tuple[DomainTools, ...], tmp_path: Path) -> None:
    llm = LLMByRole(ScriptedLLM(), {"user": OtherScripted()})
    played = run_to_end("user_oriented_exec", domains, tmp_path, n=4, llm=llm)
    for dialogue in played.accepted:
        assert dialogue.provenance.llm == "scripted"
        assert dialogue.provenance.llms["user"] == "other"
        assert dialogue.provenance.llms["agent"] == dialogue.provenance.llms["judge"] == "scripted"
    assert {role: metrics.llm for role, metrics in played.statistics.roles.items()} == {
        "agent": "scripted",
        "judge": "scripted",
        "task_writer": "scripted",
        "user": "other",
    }


def test_roles_are_chosen_on_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The named roles get their own models: a judge that cannot be reached leaves all dialogues unanswered."""
    same = generate(tmp_path / "same", GYM, "n=2", "llm@roles.user=scripted", "llm@roles.judge=scripted")
    assert all(dialogue.provenance.llms == {} for dialogue in accepted(same))
    with pytest.raises(SystemExit, match="2"):
        generate(
            tmp_path / "other", GYM, "n=2", "llm@roles.judge=vllm", "roles.judge.base_urls=[http://127.0.0.1:9/v1]",
            "roles.judge.retries=0",
        )  # fmt: skip
    assert "no OpenAI-compatible server answers at http://127.0.0.1:9/v1" in capfd.readouterr().err


def accepted(directory: Path) -> list[Dialogue]:
    return [d for file in directory.glob("*/dialogues.jsonl") for d in read_jsonl(file, Dialogue)]


def test_several_votes_of_a_greedy_judge_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        generate(tmp_path, GYM, "n=2", "llm=vllm", "llm.sampling.temperature=0", "stages.validation.votes=3")
    assert "votes=3 was given with a greedy judge (temperature 0)" in capfd.readouterr().err
