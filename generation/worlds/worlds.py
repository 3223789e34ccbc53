"""Opens the worlds of exported tasks, lets an agent play them, and decides by execution.

A folder of worlds holds tasks.jsonl (generation.worlds.task_line), toolsets.jsonl, the databases and settings.json.
The agent is any function from messages and tools to its next message: it gets nothing else, and acts through nothing
but its calls. The dialogue is generation's rollout and the verdict that of generation.validation.outcome, as in the
held-out benchmark.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from types import TracebackType
from typing import Any

from pydantic import Field, ValidationError

from core.dialogue import Check, Dialogue
from core.journal import read_jsonl
from core.messages import AssistantMessage, Frozen, Message, ToolSpec
from core.settings import Settings, UserError
from generation.database.schema import read_schema
from generation.dialogue.personas import UserSettings
from generation.dialogue.rollout import Rollout
from generation.dialogue.scenario import Scenario
from generation.dialogue.setup import DialogueSettings, RoleModels, RolloutContext, RolloutSettings
from generation.environments.base import DomainEnvironment, EnvironmentFactory
from generation.environments.clock import dialogue_time
from generation.environments.offered import offering
from generation.llm.base import LLM, Completion, Request
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.tasks.settings import TaskSettings
from generation.tasks.writer import Domain
from generation.tools.toolset import Toolset
from generation.toolset_runner import sources_from_file
from generation.validation.outcome import infrastructure_failure, outcome
from generation.worlds.task_line import TaskLine, task_hash

Answer = Callable[[tuple[Message, ...], tuple[ToolSpec, ...]], Awaitable[AssistantMessage]]
"""The conversation so far and the tools that are offered now -> the next message."""

_ONE_TASK = TaskSettings(
    style="descriptive",
    count={1: 1.0},
    difficulties={"medium": 1.0},
    kinds={"plain": 1.0},
    evidence_rows={3: 1.0},
    follow_ups=0.0,
    attempts=1,
    rows_in_view=1,
)
"""A world plays its task and writes none."""


class PipelineWorld(Settings):
    """How the dialogues of one pipeline are played."""

    environment: dict[str, Any] = Field(description="the EnvironmentFactory (`_target_`) and its arguments")
    rollout: RolloutSettings = Field(description="limits of a dialogue")


class WorldSettings(Settings):
    """settings.json."""

    pipelines: dict[str, PipelineWorld] = Field(description="name of a pipeline -> how its dialogues are played")
    user: UserSettings = Field(description="the simulated users, of which each task names its own")


class Played(Frozen):
    """A played task: the complete dialogue, and the checks that decide it. `failure` says why the dialogue says
    nothing about the agent: the user simulator failed, or the task does not hold any more; "" if neither."""

    dialogue: Dialogue
    checks: tuple[Check, ...]
    failure: str = ""

    @property
    def solved(self) -> bool:
        return not self.failure and all(check.passed for check in self.checks)

    @property
    def reward(self) -> float:
        """1 if the task is solved, else 0."""
        return float(self.solved)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What failed."""
        failed = tuple(f"{check.name}: {check.detail}" for check in self.checks if not check.passed)
        return (self.failure,) if self.failure else failed


class OutsideModel:
    """Implements generation.llm.base.LLM for a model that is called from elsewhere, as the agent or the user. Of a
    request it passes on messages and tools: the context, with the task's solution, stays here."""

    def __init__(self, name: str, answer: Answer) -> None:
        self.name = name
        self._answer = answer

    async def complete(self, request: Request) -> Completion:
        message = await self._answer(request.messages, request.tools)
        return Completion(message, "tool_calls" if message.tool_calls else "stop", model=self.name)

    async def close(self) -> None:
        """Does nothing: the model belongs to the caller."""


class Worlds:
    """Worlds to play tasks in; a context manager. `toolsets` are by domain, `tasks` by id."""

    def __init__(
        self, settings: WorldSettings, toolsets: Mapping[str, Toolset], tasks: Iterable[TaskLine] = ()
    ) -> None:
        self.settings = settings
        self.toolsets = toolsets
        self.tasks = {line.task_id: line for line in tasks}
        self._factories: dict[str, EnvironmentFactory] = {}
        self._domains: dict[str, Domain] = {}

    @classmethod
    def open(cls, folder: Path) -> Worlds:
        """The worlds of a folder. Raises UserError if it is not complete, or if its databases or tasks have changed."""
        settings = read_settings(folder / "settings.json")
        toolsets = read_toolsets(folder / "toolsets.jsonl")
        return cls(settings, toolsets, read_tasks(folder / "tasks.jsonl", toolsets, settings))

    async def play(self, start: Dialogue, agent: LLM, user: LLM | None = None, repetition: int = 0) -> Played:
        """Play the last task of `start` (TaskLine.start, or a fork within the task) to its end and decide it. `user`
        plays the user (None: the scripted stand-in, without weights); in another `repetition` it draws anew. Raises
        what a model raises that cannot be reached: that is no verdict."""
        context = self._context(start, agent, Meter(user or ScriptedLLM(), rollout=repetition))
        dialogue = await Rollout(start, context).run()
        checks, _ = await outcome(dialogue, len(start.tasks), context.domain_environment)
        return Played(dialogue=dialogue, checks=tuple(checks), failure=infrastructure_failure(dialogue.stop) or "")

    def _context(self, start: Dialogue, agent: LLM, user: Meter) -> RolloutContext:
        toolset = self.toolsets[start.domain]
        now = dialogue_time(start, toolset.now)
        return RolloutContext(
            domain=self._domain(toolset, start),
            domain_environment=self._environment(start, toolset, user, now),
            executable=True,
            models=RoleModels(task_writer=user, user=user, agent=Meter(agent), judge=user),
            settings=DialogueSettings(_ONE_TASK, self.settings.pipelines[start.pipeline].rollout, self.settings.user),
            seed=start.dialogue_id,
            now=now,
            scenario=Scenario(style="none"),  # a system message is among the messages of the start
            proved={task.task_id: task for task in start.tasks},
        )

    def _domain(self, toolset: Toolset, start: Dialogue) -> Domain:
        if toolset.domain not in self._domains:
            schema = read_schema(toolset.database, toolset.domain) if toolset.database else None
            self._domains[toolset.domain] = Domain(
                toolset.domain, schema, {}, title=toolset.title, description=toolset.description
            )
        return replace(self._domains[toolset.domain], policy=start.policy)

    def _environment(self, start: Dialogue, toolset: Toolset, meter: Meter, now: str) -> DomainEnvironment:
        if start.pipeline not in self._factories:
            self._factories[start.pipeline] = construct(self.settings.pipelines[start.pipeline].environment)
        pool = self._factories[start.pipeline].for_domain(toolset, meter, start.dialogue_id, now)
        return offering(pool, start.tools, start.user_tools)

    def close(self) -> None:
        for factory in self._factories.values():
            factory.close()
        self._factories.clear()

    def __enter__(self) -> Worlds:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_toolsets(path: Path) -> dict[str, Toolset]:
    """Toolsets by domain. Raises UserError if a database is missing or has changed."""
    return {source.toolset.domain: source.toolset for source in sources_from_file(path)}


def read_tasks(path: Path, toolsets: Mapping[str, Toolset], settings: WorldSettings) -> Iterator[TaskLine]:
    """The tasks, each with another id. Raises UserError for one that cannot be played in these worlds, or that is not
    the task whose hash its line has."""
    task_ids = set[str]()
    for line in read_jsonl(path, TaskLine):
        problem = _problem(line, toolsets, settings)
        if line.task_id in task_ids:
            problem = "two lines have this task_id; expected: one line for each task"
        if problem:
            raise UserError(f"{path}: task {line.task_id}: {problem}")
        task_ids.add(line.task_id)
        yield line


def _problem(line: TaskLine, toolsets: Mapping[str, Toolset], settings: WorldSettings) -> str:
    """What was given and expected, if the task cannot be played; else ""."""
    start = line.start
    if not start.tasks:
        return "its start has tasks=[]; expected: the task to play, after those before it"
    starts, earlier, messages = list(start.task_starts), len(start.tasks) - 1, len(start.messages)
    if len(starts) != earlier or starts != sorted(set(starts)) or not all(0 <= index < messages for index in starts):
        return (
            f"its start has task_starts={starts}; expected: the index of the first message of each task before it, "
            f"{earlier} ascending numbers below {messages}"
        )
    if start.domain not in toolsets:
        return f"its start has domain={start.domain}; expected: the domain of a line of toolsets.jsonl"
    if start.pipeline not in settings.pipelines:
        return f"its start has pipeline={start.pipeline}; expected one of settings.json: {sorted(settings.pipelines)}"
    if line.task_hash != task_hash(line.task):
        return f"task_hash={line.task_hash} was given, but its task has the hash {task_hash(line.task)}"
    return ""


def read_settings(path: Path) -> WorldSettings:
    """Raises UserError for a file that is missing or is not settings of worlds."""
    try:
        return WorldSettings.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing; expected: a folder of worlds, as `make export as=[rl]` writes it"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise UserError(f"{path} is not the settings of worlds: {problem}") from None


def construct(node: Mapping[str, Any]) -> EnvironmentFactory:
    """The environments that a settings node names in `_target_`, as Hydra would construct them: a folder of worlds is
    opened without a configuration. Whoever wrote the folder is not trusted: a name is imported only from this project,
    from what lies next to its packages, and from installed packages; environments that start programs or reach
    services are refused, since they execute nothing that a proof could rest on. Raises UserError for these and for a
    name of anything else."""
    name = node.get("_target_")
    if not isinstance(name, str) or not _is_trusted(name.partition(".")[0]):
        raise UserError(
            f"environment._target_={name} was given; expected: an EnvironmentFactory of this project, of a module next "
            "to its packages, or of an installed package"
        )
    try:
        environment_class = resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"environment._target_={name} cannot be imported: {error}") from None
    if not (isinstance(environment_class, type) and hasattr(environment_class, "for_domain")):
        raise UserError(f"environment._target_={name} was given; expected: an EnvironmentFactory")
    arguments = {
        key: construct(value) if isinstance(value, dict) and "_target_" in value else value
        for key, value in node.items()
        if key != "_target_"
    }
    factory: EnvironmentFactory = environment_class(**arguments)
    if not factory.executable:
        raise UserError(f"environment._target_={name} was given; expected: an environment that executes its tools")
    return factory


def _is_trusted(package: str) -> bool:
    """Whether a top-level package or module lies where this project's lie, as one's own parts do (docs/extending.md),
    or belongs to an installed distribution. Imports nothing."""
    try:
        spec = find_spec(package)
    except ValueError:  # no name, or that of the program that runs
        return False
    if spec is None:
        return False
    files = [spec.origin] if spec.origin and spec.has_location else []  # built-in modules have none
    folders = {Path(place).resolve().parent for place in spec.submodule_search_locations or files}
    return folders == {Path(__file__).resolve().parents[2]} or package in packages_distributions()
