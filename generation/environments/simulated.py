"""Tools that a model simulates: nothing is executed, so nothing is proved; a ledger keeps what was returned before."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from random import Random
from typing import Any

from core.messages import ToolSpec, UserMessage, schema_error
from generation.environments.base import ToolResult
from generation.llm.base import LLM, Request, ToolSimulatorContext, UnusableAnswerError
from generation.llm.json_text import first_json
from generation.prompts import render
from generation.toolset import Toolset

Entry = dict[str, Any]


@dataclass(frozen=True)
class SimulatedWorlds:
    """`attempts` bounds how often a return value that does not fit its schema is asked for again."""

    attempts: int = 3
    executable: bool = False

    def world(self, toolset: Toolset, llm: LLM, dialogue_id: str) -> SimulatedWorld:
        return SimulatedWorld(toolset.domain, toolset.specs, llm, dialogue_id, self.attempts)

    def close(self) -> None:
        """Worlds hold nothing."""


@dataclass(frozen=True)
class SimulatedWorld:
    domain: str
    tools: tuple[ToolSpec, ...]
    llm: LLM
    dialogue_id: str
    attempts: int

    def open(self, snapshot: bytes | None = None) -> SimulatedEnvironment:
        return SimulatedEnvironment(self, json.loads(snapshot) if snapshot else [])

    def close(self) -> None:
        """Nothing is held."""


class SimulatedEnvironment:
    """Its state is the ledger of calls and what they returned; the reference time is drawn once per dialogue."""

    executable = False

    def __init__(self, world: SimulatedWorld, ledger: list[Entry]) -> None:
        self.world = world
        self.tools = world.tools
        self._ledger = ledger
        rng = Random(f"{world.dialogue_id}/now")
        self._now = (
            f"2025-{rng.randint(1, 12):02}-{rng.randint(1, 28):02} {rng.randint(8, 19):02}:{rng.randint(0, 59):02}"
        )

    async def call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        tool = next((tool for tool in self.tools if tool.name == name), None)
        if tool is None:
            return _refused(f"unknown tool {name!r}; known: {', '.join(sorted(t.name for t in self.tools))}")
        if problem := tool.argument_error(arguments):
            return _refused(f"arguments of {name} do not fit: {problem}")
        problem = ""
        for attempt in range(self.world.attempts):
            value, problem = await self._ask(tool, arguments, attempt)
            if not problem:
                content = json.dumps(value, ensure_ascii=False)
                self._ledger = [*self._ledger, {"name": name, "arguments": arguments, "content": content}]
                return ToolResult(content, value, error=isinstance(value, dict) and "error" in value)
        raise UnusableAnswerError(
            "tool_simulator", f"{name} gave no fitting value in {self.world.attempts} attempts: {problem}"
        )

    async def _ask(self, tool: ToolSpec, arguments: dict[str, Any], attempt: int) -> tuple[Any, str]:
        """(value, problem): the value fits the output schema where problem is empty."""
        values = {
            "domain": self.world.domain,
            "tool": tool,
            "ledger": self._ledger,
            "arguments": arguments,
            "now": self._now,
        }
        request = Request(
            role="tool_simulator",
            messages=(UserMessage(content=render("tool_simulator", **values)),),
            key=f"{self.world.dialogue_id}/tool/{len(self._ledger)}/{attempt}",
            affinity=self.world.dialogue_id,
            context=ToolSimulatorContext(tool, arguments),
            json_schema=tool.returns,
        )
        text = (await self.world.llm.complete(request)).message.content
        try:
            value = first_json(text, list if (tool.returns or {}).get("type") == "array" else dict)
        except ValueError as error:
            return None, str(error)
        return value, schema_error(value, tool.returns or {}) or ""

    def snapshot(self) -> bytes:
        return json.dumps(self._ledger, ensure_ascii=False).encode()

    def fork(self) -> SimulatedEnvironment:
        return self.world.open(self.snapshot())

    def state_hash(self) -> str:
        return hashlib.sha256(self.snapshot()).hexdigest()

    def state_diff(self) -> tuple[str, ...]:
        """Empty: a simulated tool changes nothing that could be looked at."""
        return ()

    def reset(self) -> None:
        self._ledger = []

    def close(self) -> None:
        """Nothing is held."""


def _refused(problem: str) -> ToolResult:
    value = {"error": problem}
    return ToolResult(json.dumps(value, ensure_ascii=False), value, error=True)
