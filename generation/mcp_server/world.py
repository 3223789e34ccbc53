"""What a server offers: domains, and the tasks of a finished run. Every session gets a world of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from core.dialogue import Dialogue
from core.journal import lines_of, read_jsonl_at
from core.policy import Policy
from core.provenance import Provenance
from core.settings import UserError
from generation.environments.base import EnvironmentFactory
from generation.environments.clock import dialogue_time
from generation.environments.offered import offering
from generation.llm.base import LLM
from generation.llm.meter import Meter
from generation.mcp_server.session import TELL_USER, ServedDomain, Session
from generation.mcp_server.verdict import without_consent
from generation.specs.formats import LONGEST_NAME
from generation.tools.toolset import Toolset
from generation.validation.validate import replay

PIPELINE = "sessions"
"""Takes the place of a pipeline's name in the lines and folders of a server's run."""

_DIALOGUE_ID = re.compile(rb'\{"dialogue_id": ?"([^"]+)"')
_NEEDS_A_USER = {
    "late_tool": "a tool that appears only after the user was told that it is missing",
    "guided": "a user who acts with tools of their own",
}
"""Kind of request -> what it needs that no session has."""


class TaskFile:
    """The tasks of a dialogues.jsonl, by id; a dialogue is read when one of its tasks is asked for."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        matches = ((_DIALOGUE_ID.match(line), offset) for offset, _, line in lines_of(path)) if path else ()
        self._offsets = {match[1].decode(): offset for match, offset in matches if match}

    def find(self, task_id: str) -> tuple[Dialogue, int]:
        """The dialogue and the task's number in it. Raises UserError for an unknown task, and for one that a session
        cannot be opened for."""
        offset = self._offsets.get(task_id.rpartition("/")[0])
        if self.path is None or offset is None:
            raise UserError(f"task {task_id!r} was given; expected the id of a task of {self.path or 'a finished run'}")
        dialogue = read_jsonl_at(self.path, offset, Dialogue)
        ids = [task.task_id for task in dialogue.tasks]
        if task_id not in ids:
            raise UserError(f"task {task_id!r} was given; the tasks of its dialogue are {', '.join(ids)}")
        number = ids.index(task_id)
        task = dialogue.tasks[number]
        if number >= len(dialogue.task_starts) or not task.is_proved:
            raise UserError(f"task {task_id!r} has no proof to be judged by")
        if needed := _NEEDS_A_USER.get(task.kind):
            raise UserError(f"task {task_id!r} needs {needed}")
        return dialogue, number


class World:
    """Opens sessions. `environments` and their databases are shared and never change: an environment is a copy."""

    def __init__(
        self,
        toolsets: Sequence[Toolset],
        environments: EnvironmentFactory,
        llm: LLM,
        tasks: TaskFile,
        most_calls: int,
        config: str = "",
    ) -> None:
        """`config` is the run's fingerprint. Toolsets without tools, which generation refused, are not served. Raises
        UserError for tool names that cannot be served."""
        self.toolsets = {toolset.domain: toolset for toolset in toolsets if toolset.tools}
        self._tasks = tasks
        self._environments = environments
        self._llm = llm
        self._most_calls = most_calls
        self._config = config
        _refuse_names(
            [self._prefix(domain) + tool.name for domain in self.toolsets for tool in self.toolsets[domain].tools]
        )

    @property
    def instructions(self) -> str:
        """What a client reads about the domains: each service, and the rules that its assistant must follow."""
        return "\n\n".join(map(_instructions, self.toolsets.values()))

    def find_task(self, task_id: str) -> tuple[Dialogue, int]:
        """The dialogue of a task and the task's number in it. Raises UserError for a task that a session cannot be
        opened for."""
        dialogue, number = self._tasks.find(task_id)
        if dialogue.domain not in self.toolsets:
            raise UserError(f"task {task_id!r} is of {dialogue.domain}; served are {', '.join(self.toolsets)}")
        if not self._environments.executable:
            raise UserError(f"task {task_id!r}: its tools are simulated, so nothing can be judged")
        return dialogue, number

    async def open(self, number: int, task_id: str | None = None) -> Session:
        """A new session: in the initial state of each domain, or in the state in which a task of the run began, with
        the tools that were offered then. Raises UserError for a task that it cannot be opened for."""
        if task_id is not None:
            return Session(number, {"": await self._at_task(number, task_id)}, task_id, self._most_calls)
        domains = {self._prefix(domain): self._fresh(number, domain) for domain in self.toolsets}
        return Session(number, domains, None, self._most_calls)

    def _prefix(self, domain: str) -> str:
        """What the names of the domain's tools begin with; empty for a single domain."""
        return f"{domain}__" if len(self.toolsets) > 1 else ""

    def _fresh(self, number: int, domain: str) -> ServedDomain:
        toolset = self.toolsets[domain]
        name = f"session-{number:07d}"
        draft = Dialogue(
            dialogue_id=f"{name}-{domain}" if len(self.toolsets) > 1 else name,
            pipeline=PIPELINE,
            domain=domain,
            tools=toolset.tools,
            task_starts=(0,),
            policy=without_consent(toolset.policy),
            provenance=Provenance(config=self._config, now=toolset.now or None),
        )
        pool = self._environments.for_domain(toolset, Meter(self._llm), name, toolset.now or None)
        domain_environment = offering(pool, toolset.tools)
        return ServedDomain(domain_environment, domain_environment.open(), draft)

    async def _at_task(self, number: int, task_id: str) -> ServedDomain:
        given, task = self.find_task(task_id)
        start, name = given.task_starts[task], f"session-{number:07d}"
        toolset, now = self.toolsets[given.domain], dialogue_time(given, self.toolsets[given.domain].now)
        draft = given.model_copy(
            update={
                "dialogue_id": name,
                "pipeline": PIPELINE,
                "messages": given.messages[:start],
                "tasks": given.tasks[: task + 1],
                "task_starts": given.task_starts[: task + 1],
                "user_actions": given.actions_before(start),
                "policy": without_consent(given.policy),
                "stop": "complete",
                "verdict": None,
                "state": None,
                "provenance": given.provenance
                | Provenance(config=self._config, now=now, parent=given.dialogue_id, parent_messages=start),
            }
        )
        pool = self._environments.for_domain(toolset, Meter(self._llm), name, now)
        domain_environment = offering(pool, given.tools_at(start), given.user_tools)
        snapshot = (await replay(draft, pool)).snapshots[task]
        return ServedDomain(domain_environment, domain_environment.open(snapshot), draft)

    def close(self) -> None:
        self._environments.close()


def _instructions(toolset: Toolset) -> str:
    text = f"{toolset.domain}: the {toolset.called} service. {toolset.description}".strip()
    policy: Policy | None = toolset.policy
    return f"{text}\nRules of the service:\n{policy.shown}" if policy else text


def _refuse_names(names: Sequence[str]) -> None:
    if not names:
        raise UserError("the toolsets have no tools to serve")
    if TELL_USER.name in names:
        raise UserError(f"a tool is named {TELL_USER.name}, as the one with which a session tells the user something")
    if long := [name for name in names if len(name) > LONGEST_NAME]:
        raise UserError(
            f"{long[0]} has {len(long[0])} characters; expected at most {LONGEST_NAME}: serve the domains apart, with "
            "domains=[…]"
        )
