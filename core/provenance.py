"""Provenance: which run, model, prompts and seed data a dialogue comes from, typed."""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import Field, model_serializer, model_validator

from core.messages import Frozen


class WriterRequest(Frozen):
    """What was requested of the task writer: a difficulty, a kind of request, whether to follow up on the previous
    task, and tools of which the plan should use one."""

    difficulty: str
    follow_up: bool
    kind: str = "plain"
    evidence_rows: int = 0
    targets: tuple[str, ...] = ()


class Provenance(Frozen):
    """Where a dialogue comes from. Every field is optional, since stages add to it one after the other.

    On disk it is one JSON string with the fields that were set and are not None, so that `datasets` merges no schemas.
    Keys that other projects wrote are kept, in `foreign`.
    """

    config: str | None = Field(default=None, description="fingerprint of the run's configuration and inputs")
    commit: str | None = Field(default=None, description="git commit of the code")
    seed: int | None = Field(default=None, description="the run's random seed")
    prompts: dict[str, str] = Field(default_factory=dict, description="prompt name -> hash of its template")
    sampling: dict[str, Any] | None = Field(default=None, description="sampling parameters of the model, per role")
    llm: str | None = Field(default=None, description="name of the generating model")
    llms: dict[str, str] = Field(default_factory=dict, description="role -> its model, where roles have different ones")
    source: str | None = Field(default=None, description="the seed data")
    licence: str | None = Field(default=None, description="licence of the seed data")
    row: str | None = Field(default=None, description="id of the row of a converted data set")
    database_sha256: str | None = Field(default=None, description="SHA-256 of the database the tools acted on")
    rollouts: int | None = Field(
        default=None, description="how often the dialogue was played, if it could be several times"
    )
    rollouts_passed: int | None = Field(default=None, description="how many of its rollouts were accepted")
    tasks_requested: int = Field(default=0, description="tasks the dialogue was planned to have")
    writer_requests: dict[str, WriterRequest] = Field(default_factory=dict, description="per written task, by task id")
    refused_drafts: dict[str, int] = Field(default_factory=dict, description="refused task drafts per reason")
    parallel: dict[str, int] = Field(
        default_factory=dict,
        description="groups of independent look-ups: eligible for one message, and merged into one",
    )
    persona: str | None = Field(default=None, description="persona of the simulated user")
    user_rules: str | None = Field(default=None, description="name of the simulated user's set of rules")
    language: str | None = Field(default=None, description="code of the language that the user writes")
    system_prompt: str | None = Field(default=None, description="style of the system message")
    now: str | None = Field(default=None, description="the dialogue's one date and time, as all prompts state it")
    parent: str | None = Field(default=None, description="id of the dialogue that this one extends or forks")
    parent_messages: int = Field(default=0, description="messages taken from the parent")
    parent_config: str | None = Field(default=None, description="`config` of the parent")
    parent_llm: str | None = Field(default=None, description="`llm` of the parent")
    foreign: dict[str, Any] = Field(default_factory=dict, description="keys that other projects wrote")

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        """Accept the JSON string of the on-disk form, and move unknown keys to `foreign`."""
        fields = set(cls.model_fields)
        if isinstance(value, str):
            value = json.loads(value)
            fields.remove("foreign")
        if not isinstance(value, dict):
            return value
        foreign = {key: entry for key, entry in value.items() if key not in fields}
        known = {key: entry for key, entry in value.items() if key in fields}
        return known | {"foreign": known.get("foreign", {}) | foreign} if foreign else known

    @model_serializer
    def _dump(self) -> str:
        fields = {name: value for name, value in self if name in self.model_fields_set and value is not None}
        foreign = fields.pop("foreign", {})
        return json.dumps(foreign | fields, ensure_ascii=False, default=Frozen.model_dump)

    def __or__(self, other: Provenance) -> Self:
        """A copy with the fields that were set in `other` replaced, None included; foreign keys of both are kept."""
        update = {name: getattr(other, name) for name in other.model_fields_set}
        return self.model_copy(update=update | {"foreign": self.foreign | other.foreign})
