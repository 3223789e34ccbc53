"""One run of the held-out benchmark: every model and every trial gets the same dialogues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.journal import write_jsonl
from evaluation.benchmark import EvaluationContext
from evaluation.heldout.blame import find_blame
from evaluation.heldout.databases import HeldoutDatabases
from evaluation.heldout.outcome import count_calls, notes, stop_reason
from evaluation.heldout.settings import Condition, HeldoutSettings
from evaluation.heldout.tasks import ConditionCell, HeldoutDialogue, HeldoutTaskWriter
from evaluation.transcripts import write_transcript
from evaluation.trials import Progress, TrialRecord, completed_keys, open_journal, read_trials
from generation.dialogue.rollout import Rollout
from generation.dialogue.setup import RoleModels, RolloutContext
from generation.environments.clock import drawn_time
from generation.environments.sql import SqlEnvironmentFactory
from generation.llm.base import LLM, LLMError
from generation.llm.meter import Meter
from generation.llm.openai import OpenAILLM
from generation.pipeline import DomainTools
from generation.runner import run_workers
from generation.seeds.base import Seeds
from generation.tasks.kinds import is_possible
from generation.validation.outcome import infrastructure_failure, outcome

HARNESS = "heldout 6"
"""Version of what decides a trial. 6: dialogues take place when their data do, and a wish that changes is always said
first. 5: requests of every kind are proved more strictly, and consent and refusals are read more exactly
(generation.utterances). 4: databases have a policy, whose rules must be kept, and requests are of every kind, which
demands more than calls (generation.validation.conduct). 3: the scripted user judges by execution whether its requests
are done, and a new row's key need not be told; 2 judged by the agent's words. Scores of different versions are not
comparable."""
TASKS_FOLDER = "heldout"
"""Folder of the evaluation's shared directory with the tools and tasks that all its models get."""


def dialogue_path(directory: Path, record: TrialRecord) -> Path:
    """The file with a trial's dialogue."""
    return directory / "dialogues" / f"{record.key.replace('/', '_')}.jsonl"


@dataclass(frozen=True)
class HeldoutTrial:
    """One dialogue to run with one sampling seed."""

    dialogue: HeldoutDialogue
    domain_tools: DomainTools
    number: int

    @property
    def key(self) -> str:
        return f"heldout/{self.dialogue.key}/{self.number}"


class HeldoutRun:
    """Evaluates one endpoint. The tools and databases of `context.generations` are used again, their goals are not."""

    def __init__(
        self, settings: HeldoutSettings, simulator: LLM, databases: Seeds, context: EvaluationContext, directory: Path
    ) -> None:
        self.settings = settings
        self.simulator = simulator
        self.trials = context.trials
        self.endpoint = context.endpoint
        self.directory = directory
        shared = (context.shared or directory) / TASKS_FOLDER
        self.databases = HeldoutDatabases(
            databases,
            simulator,
            context,
            shared / "toolsets.jsonl",
            max_tools=settings.max_tools,
            policy_rules=settings.policy_rules,
            rows_per_table=settings.rows_per_table,
            seed=settings.seed,
        )
        self.environments = SqlEnvironmentFactory(row_cap=settings.row_cap, time_limit_s=settings.time_limit_s)
        self.writer = HeldoutTaskWriter(
            simulator,
            self.environments,
            settings.tasks,
            settings.faults,
            settings.seed,
            self.endpoint.concurrency,
            shared / "tasks.jsonl",
        )
        self.agents: dict[int, OpenAILLM] = {}

    async def run(self, progress: Progress | None = None) -> list[TrialRecord]:
        """Run the trials that the journal lacks and return the records of all."""
        path = self.directory / "trials.jsonl"
        try:
            trials = await self._trials()
            completed = completed_keys(path)
            remaining = [trial for trial in trials if trial.key not in completed]
            done = len(trials) - len(remaining)
            with open_journal(path) as journal:

                async def work(queue: Iterator[HeldoutTrial]) -> None:
                    nonlocal done
                    for trial in queue:
                        record = await self._run_trial(trial)
                        journal.append(record, record.key)
                        done += 1
                        if progress:
                            progress("held-out", done, len(trials))

                queue = iter(remaining)
                await run_workers(self.endpoint.concurrency, lambda: work(queue))
        finally:
            self.environments.close()
            for model in (self.simulator, *self.agents.values()):
                await model.close()
        return read_trials(path)

    def agent(self, trial: int) -> LLM:
        """The evaluated model with this trial's sampling seed."""
        if trial not in self.agents:
            self.agents[trial] = OpenAILLM(
                [self.endpoint.base_url],
                model=self.endpoint.model,
                sampling=self.endpoint.sampling.model_dump(),
                extra_body=self.endpoint.extra_body(),
                api_key_env=self.endpoint.api_key_env,
                timeout_s=self.settings.timeout_s,
                outage_s=self.settings.outage_s,
                seed=self.settings.seed + trial,
            )
        return self.agents[trial]

    async def _trials(self) -> list[HeldoutTrial]:
        by_kind = await self.databases.find(self.settings.categories)
        cells = [
            ConditionCell(kind, varied, condition, _fitting(domains, condition))
            for kind, domains in by_kind.items()
            for varied, condition in self.settings.conditions()
        ]
        by_name = {(kind, tools.domain.name): tools for kind, domains in by_kind.items() for tools in domains}
        return [
            HeldoutTrial(dialogue, by_name[dialogue.databases, dialogue.draft.domain], number)
            for dialogue in await self.writer.write(cells, self.settings.dialogues)
            for number in range(self.trials)
        ]

    async def _run_trial(self, trial: HeldoutTrial) -> TrialRecord:
        """Run one dialogue. A failed request to the model, a failure of the simulator and a task that does not hold are
        infrastructure errors, never a score."""
        posed = trial.dialogue
        meter = Meter(self.agent(trial.number))
        context = self._context(trial, meter)
        base: dict[str, Any] = {
            "benchmark": "heldout",
            "harness": HARNESS,
            "category": posed.category,
            "task_id": posed.draft.dialogue_id,
            "trial": trial.number,
            "model": self.endpoint.model,
            "sampling": self.endpoint.sampling,
            "simulator": self.simulator.name,
            "axes": posed.axes,
        }
        try:
            dialogue = await Rollout(posed.draft, context).run()
        except LLMError as error:
            return TrialRecord(**base, infrastructure_error=str(error), stop_reason="infrastructure")
        results, changes = await outcome(dialogue, len(posed.draft.tasks), context.domain_environment)
        failure = infrastructure_failure(dialogue.stop)
        valid, calls = count_calls(dialogue)
        record = TrialRecord(
            **base,
            success=None if failure else all(check.passed for check in results),
            infrastructure_error=failure,
            stop_reason=stop_reason(dialogue, posed),
            truncations=meter.flaws["agent/truncated"],
            calls=calls,
            valid_calls=valid,
            prompt_tokens=meter.usage.prompt_tokens,
            completion_tokens=meter.usage.completion_tokens,
            seconds=round(meter.seconds.get("agent", 0.0), 3),
        )
        if record.success is False:
            record = record.blamed(find_blame(dialogue, results, changes))
        write_jsonl(dialogue_path(self.directory, record), [dialogue])
        messages = [message.model_dump(exclude_none=True) for message in dialogue.messages]
        return write_transcript(self.directory, record, notes(posed, results), messages)

    def _context(self, trial: HeldoutTrial, agent: Meter) -> RolloutContext:
        simulator, posed = Meter(self.simulator), trial.dialogue
        return RolloutContext(
            domain=trial.domain_tools.domain,
            domain_environment=self.writer.domain_environment(
                trial.domain_tools, posed.fault, posed.draft.dialogue_id, simulator
            ),
            executable=True,
            models=replace(RoleModels.of(simulator), agent=agent),
            settings=self.settings.dialogue(len(posed.draft.tasks)),
            seed=f"{self.settings.seed}/{posed.key}",
            now=drawn_time(posed.draft.dialogue_id, trial.domain_tools.toolset.now),
        )


def _fitting(domains: Sequence[DomainTools], condition: Condition) -> tuple[DomainTools, ...]:
    """The domains on which requests of the condition's kind are possible."""
    return tuple(tools for tools in domains if is_possible(condition.kind, True, tools.domain.policy, is_first=True))
