"""Equal servers as one: which dialogue goes where, how much each server is given at once, and which of them stand."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from core.settings import UserError

log = logging.getLogger(__name__)

FIRST_PROBE_S, LAST_PROBE_S = 1.0, 30.0
"""A drained server is asked whether it is there after the first of these, then ever more rarely."""
IN_A_ROW = 3
"""So many failures without an answer between them, and a server is drained, if another one stands."""
UNEVEN = 1.25
"""A new dialogue passes over a server with more than this multiple of the mean load."""
KNOWN = 100_000
"""Dialogues whose server is remembered, the latest ones; of older ones only their hash says it again."""
YIELD = 0.7
"""What is left of a server's room after it said that it has too much."""


@dataclass(frozen=True)
class Limits:
    """What one server is given at once: requests, and estimated tokens of prompts and answers. None: any number."""

    requests: int | None = None
    tokens: int | None = None


class DrainedError(Exception):
    """The server was drained while a request waited to be sent to it."""


@dataclass(eq=False)
class Replica:
    """One server: what it is given, who waits for that, and how it did lately.

    Who waits is let in by turn, the dialogue that was begun first before the others: what was begun is finished, and the server's
    cache serves few dialogues instead of many. A request that is larger than all room is sent when it can be alone.
    """

    base_url: str
    limits: Limits
    stands: bool = True
    served: int = 0
    in_flight: int = 0
    tokens: int = 0
    failures: int = 0
    drains: int = 0
    _room: float = math.inf
    _cut_at: float = -math.inf
    _paused_until: float = -math.inf
    _waiting: list[tuple[int, int, int, asyncio.Future[None]]] = field(default_factory=list)
    _arrivals: int = 0

    def __post_init__(self) -> None:
        self._room = self._most = self.limits.requests or math.inf

    @property
    def load(self) -> int:
        """Requests that are there or wait."""
        return self.in_flight + len(self._waiting)

    def answered(self) -> None:
        self.served += 1
        self.failures = self.drains = 0
        self._room = min(self._most, self._room + 1 / self._room)

    def refused(self, sent: float) -> None:
        """It has too much to do: room shrinks at once and grows back with each answer. Refusals of what was `sent` (time.monotonic)
        before the last cut say nothing new."""
        if sent >= self._cut_at:
            self._cut_at = time.monotonic()
            self._room = max(1.0, min(self._room, self.in_flight) * YIELD)

    def pause(self, seconds: float) -> None:
        """Send nothing for so long."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)
        # The loop's timers may be early by its clock's resolution.
        asyncio.get_running_loop().call_later(seconds + 0.001, self._admit)

    def drain(self) -> None:
        """Whoever waits here has to look elsewhere."""
        self.stands = False
        for *_, ready in self._waiting:
            if not ready.done():
                ready.set_exception(DrainedError())
        self._waiting.clear()

    async def enter(self, turn: int, tokens: int) -> None:
        """Be one of the requests in flight, as soon as there is room, until `leave`. Raises DrainedError if the server is
        drained before."""
        if not self._waiting and self._has_room(tokens):
            self._take(tokens)
            return
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heapq.heappush(self._waiting, (turn, self._arrivals, tokens, ready))
        try:
            await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled() and not ready.exception():
                self.leave(tokens)  # it was let in and cancelled at the same moment
            raise

    def leave(self, tokens: int) -> None:
        """Make room again."""
        self.in_flight -= 1
        self.tokens -= tokens
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            *_, tokens, ready = self._waiting[0]
            if not ready.done():
                if not self._has_room(tokens):
                    return
                self._take(tokens)
                ready.set_result(None)
            heapq.heappop(self._waiting)

    def _take(self, tokens: int) -> None:
        self.in_flight += 1
        self.tokens += tokens

    def _has_room(self, tokens: int) -> bool:
        if time.monotonic() < self._paused_until:
            return False
        if not self.in_flight:
            return True
        return self.in_flight + 1 <= self._room and self.tokens + tokens <= (self.limits.tokens or math.inf)


class ReplicaPool:
    """All servers. `probe` says whether a drained one is there again; it never raises."""

    def __init__(
        self,
        base_urls: Sequence[str],
        limits: Limits,
        outage_s: float,
        probe: Callable[[Replica], Awaitable[bool]],
    ) -> None:
        self.replicas = [Replica(url.rstrip("/"), limits) for url in base_urls]
        self._outage_s = outage_s
        self._probe = probe
        self._homes: OrderedDict[str, tuple[Replica, int]] = OrderedDict()
        self._turns = 0
        self._some_stand = asyncio.Event()
        self._some_stand.set()
        self._silent_since = math.inf
        self._revivals: set[asyncio.Task[None]] = set()

    async def enter(self, affinity: str, tokens: int) -> Replica:
        """The server of a dialogue, as soon as there is room for so many tokens; the caller leaves it. Where no server stands it
        waits for one, and raises UserError after `outage_s` seconds without any."""
        while True:
            await self._wait_for_any()
            replica, turn = self._home(affinity)
            try:
                await replica.enter(turn, tokens)
                return replica
            except DrainedError:
                continue

    def failed(self, replica: Replica, problem: str) -> None:
        """Count a failure; too many in a row drain the server, unless it is the last one: then it may as well go on trying."""
        replica.failures += 1
        if replica.failures >= IN_A_ROW and any(other.stands for other in self.replicas if other is not replica):
            self.drain(replica, problem)

    def drain(self, replica: Replica, problem: str) -> None:
        """Send a server nothing more until it answers a probe; its dialogues go on elsewhere."""
        if not replica.stands:
            return
        replica.drain()
        left = sum(other.stands for other in self.replicas)
        log.warning("%s is left out until it answers again (%s); %d servers stand", replica.base_url, problem, left)
        if not left:
            self._silent_since = time.monotonic()
            self._some_stand.clear()
        revival = asyncio.create_task(self._revive(replica))
        self._revivals.add(revival)
        revival.add_done_callback(self._revivals.discard)

    async def close(self) -> None:
        revivals = list(self._revivals)
        for revival in revivals:
            revival.cancel()
        await asyncio.gather(*revivals, return_exceptions=True)

    def _home(self, affinity: str) -> tuple[Replica, int]:
        """A dialogue's server, where its prefix is cached, and its turn. It moves only if that server does not stand. A new
        one goes by rendezvous hashing, past servers with more than their share: so dialogues of a lost server spread, too."""
        self._turns += affinity not in self._homes
        replica, turn = self._homes.get(affinity, (None, self._turns))
        if replica is None or not replica.stands:
            standing = [self.replicas[i] for i in rendezvous(affinity, len(self.replicas)) if self.replicas[i].stands]
            fair = UNEVEN * (sum(other.load for other in standing) + 1) / len(standing)
            replica = next(other for other in standing if other.load < fair)
        self._homes[affinity] = replica, turn
        self._homes.move_to_end(affinity)
        if len(self._homes) > KNOWN:
            self._homes.popitem(last=False)
        return replica, turn

    async def _wait_for_any(self) -> None:
        if self._some_stand.is_set():
            return
        try:
            async with asyncio.timeout(max(0.0, self._silent_since + self._outage_s - time.monotonic())):
                await self._some_stand.wait()
        except TimeoutError:
            urls = ", ".join(replica.base_url for replica in self.replicas)
            raise UserError(
                f"no server has answered for {self._outage_s:g} s: {urls}; start one again, and the same command goes on"
            ) from None

    async def _revive(self, replica: Replica) -> None:
        while True:
            await asyncio.sleep(min(FIRST_PROBE_S * 2.0**replica.drains, LAST_PROBE_S))
            replica.drains += 1
            if await self._probe(replica):
                break
        replica.stands = True
        self._some_stand.set()
        log.warning("%s answers again", replica.base_url)


def rendezvous(affinity: str, count: int) -> list[int]:
    """0..count-1 in this dialogue's order: each is first for as many dialogues, and where one is missing its dialogues spread over
    all others."""

    def rank(index: int) -> bytes:
        return hashlib.blake2b(f"{affinity}\0{index}".encode(), digest_size=8).digest()

    return sorted(range(count), key=rank)
