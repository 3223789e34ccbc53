"""One client's session: its private environments, what it called, and the dialogue lines that prove it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.dialogue import Dialogue, StateProof, Verdict
from core.messages import AssistantMessage, ContractError, Message, ToolCall, ToolMessage, ToolSpec
from generation.environments.base import DomainEnvironment, Environment, ToolResult
from generation.llm.base import LLMError, UnusableAnswerError
from generation.mcp_server.verdict import judge

MAX_CHARACTERS = 4_000_000
"""Of the calls and results that a session keeps until it closes."""

TELL_USER = ToolSpec(
    name="tell_user",
    description="Tells the user something: what was found out, what was done, or why it cannot be done.",
    parameters={"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
)
"""Offered next to the tools of a task, whose user must learn values; no domain has it."""


@dataclass
class ServedDomain:
    """One domain as a session has it. `draft` is the dialogue that the session continues: its messages are those before
    the session, and its last task, if it has one, is what the session is to do."""

    domain_environment: DomainEnvironment
    environment: Environment
    draft: Dialogue
    messages: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.initial_hash = self.environment.state_hash()

    @property
    def proof(self) -> StateProof:
        """How the state has changed since the session began. For a task in the middle of a dialogue, `diff` has the
        changes of the earlier tasks, too."""
        environment = self.environment
        return StateProof(
            initial_hash=self.initial_hash, final_hash=environment.state_hash(), diff=environment.state_diff()
        )

    def dialogue(self) -> Dialogue:
        """The line that `make verify` replays."""
        messages = (*self.draft.messages, *self.messages)
        return self.draft.model_copy(update={"messages": messages})


class Session:
    """A session's tools, by the names under which it sees them, and what it did with them.

    Only the session's own client reaches it. Calls run one after the other, in the order in which they came.
    """

    def __init__(self, number: int, domains: Mapping[str, ServedDomain], task: str | None, most_calls: int) -> None:
        """`domains` by the prefix of their tools' names, which is empty for a single one."""
        self.number = number
        self.task = task
        self.calls = 0
        self.tools: dict[str, ToolSpec] = {}
        self._domains = tuple(domains.values())
        self._tools: dict[str, tuple[ServedDomain, str]] = {}
        for prefix, domain in domains.items():
            for tool in domain.environment.tools:
                name = prefix + tool.name
                self.tools[name] = tool.model_copy(update={"name": name})
                self._tools[name] = (domain, tool.name)
        if task is not None:
            self.tools[TELL_USER.name] = TELL_USER
        self._most_calls = most_calls
        self._characters = 0
        self._turn = asyncio.Lock()

    async def call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        """The tool's result as it is. A wrong name or argument, a full session and a tool simulator without an answer
        make a result with `error`."""
        async with self._turn:
            if refusal := self._refusal(name, arguments):
                return ToolResult.failed(refusal)
            self.calls += 1
            if name == TELL_USER.name and self.task is not None:
                self._domains[0].messages.append(AssistantMessage(content=arguments["message"]))
                return ToolResult('{"told": true}', {"told": True})
            domain, own_name = self._tools[name]
            try:
                result = await domain.environment.call(own_name, arguments)
            except (UnusableAnswerError, LLMError) as error:
                return ToolResult.failed(f"the tool did not answer: {error}")
            self._keep(domain, own_name, arguments, result)
            return result

    def _refusal(self, name: str, arguments: dict[str, Any]) -> str:
        """Why a call never reaches its tool; empty if it does."""
        if name not in self.tools:
            return f"there is no tool {name!r}; there are: {', '.join(self.tools)}"
        if self.calls >= self._most_calls:
            return f"this session has made its {self._most_calls} calls; open another one"
        try:
            written = ToolCall.make("call", name, arguments)
            written.parsed()
        except (ContractError, ValueError, RecursionError):
            return "the arguments cannot be written as JSON: a number, a nesting or a character is out of range"
        self._characters += len(written.function.arguments)
        if self._characters > MAX_CHARACTERS:
            return f"the calls and results of this session exceed {MAX_CHARACTERS:,} characters; open another one"
        if name == TELL_USER.name and self.task is not None and (problem := TELL_USER.argument_error(arguments)):
            return f"invalid arguments: {problem}"
        return ""  # tools refuse wrong arguments themselves

    def _keep(self, domain: ServedDomain, name: str, arguments: dict[str, Any], result: ToolResult) -> None:
        call = ToolCall.make(f"session_{self.calls}", name, arguments)
        domain.messages += [
            AssistantMessage(tool_calls=(call,)),
            ToolMessage(tool_call_id=call.id, content=result.content),
        ]
        self._characters += len(result.content)

    def state(self) -> dict[str, Any]:
        """What the client may read about its own session: number, task, calls, and each domain's hashes and changes."""
        return {
            "session": self.number,
            "task": self.task,
            "calls": self.calls,
            "domains": {domain.draft.domain: domain.proof.model_dump(mode="json") for domain in self._domains},
        }

    async def close(self) -> list[Dialogue]:
        """Release the environments and return one dialogue for each domain in which something was called, and for a
        task; with the verdict on the task."""
        async with self._turn:
            closed: list[Dialogue] = []
            try:
                for domain in self._domains:
                    if domain.messages or self.task is not None:
                        closed.append(await self._proved(domain))
            finally:
                for domain in self._domains:
                    domain.environment.close()
            return closed

    async def _proved(self, domain: ServedDomain) -> Dialogue:
        dialogue, verdict = domain.dialogue(), None
        if not domain.environment.executable:
            return dialogue
        if self.task is not None:
            replayed, verdict = await judge(dialogue, domain.domain_environment)
            return dialogue.model_copy(update={"state": replayed.proof, "verdict": verdict})
        return dialogue.model_copy(update={"state": domain.proof})


def verdict_of(dialogues: list[Dialogue]) -> Verdict | None:
    """The verdict on a session's task; None without a task, or where nothing is executed."""
    return next((dialogue.verdict for dialogue in dialogues if dialogue.verdict), None)
