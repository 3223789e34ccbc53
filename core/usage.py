"""What a dialogue cost: requests and tokens, in total and by role, and the defective answers among them."""

from __future__ import annotations

from pydantic import Field

from core.json_fields import JsonObject, JsonRoles
from core.messages import Frozen
from core.server_protocol import total


class RoleUsage(Frozen):
    """Cost of one role; `cached_tokens` are the prompt tokens that the server found in its prefix cache. Tokens are
    None if a server did not count those of each request."""

    requests: int = 0
    prompt_tokens: int | None = 0
    cached_tokens: int = 0
    completion_tokens: int | None = 0

    def __add__(self, other: RoleUsage) -> RoleUsage:
        both = {name: total((getattr(self, name), getattr(other, name))) for name in type(self).model_fields}
        return RoleUsage.model_validate(both)


class Usage(Frozen):
    """Tokens (None: unknown) and requests, in total and per role. Times are left out: equal runs give equal bytes.

    `flaws` counts defective answers as "role/kind" -> count. Kinds: truncated, empty, malformed, refused, repaired,
    unclosed, contradiction, and injected_<kind> for requested faults (with role "environment" for faults of tools).
    """

    requests: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    roles: JsonRoles[RoleUsage] = Field(default_factory=dict)
    flaws: JsonObject = Field(default_factory=dict)
