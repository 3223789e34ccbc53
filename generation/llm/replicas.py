"""A pool of equal servers: which dialogue goes to which server, how much each one gets at once, and which of them are
up."""

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

from pydantic import Field

from core.settings import Settings, UserError

log = logging.getLogger(__name__)

FIRST_PROBE_S, LAST_PROBE_S = 1.0, 30.0
"""A server that is down is probed after the first interval, then at doubling intervals up to the last."""
MAX_CONSECUTIVE_FAILURES = 3
"""Failures without an answer in between after which a server is taken down, provided another one is up."""
LOAD_TOLERANCE = 1.25
"""A new dialogue skips servers whose load exceeds this multiple of the mean."""
MAX_REMEMBERED_DIALOGUES = 100_000
"""Dialogues whose server is remembered, the most recent ones; older ones fall back to their hash."""
BACKOFF_FACTOR = 0.7
"""Factor by which a server's window shrinks when it reports overload."""


class Limits(Settings):
    """What one server gets at once."""

    max_in_flight: int | None = Field(
        default=256, ge=1, description="Most requests that one server handles at once; null: any number."
    )
    max_tokens_in_flight: int | None = Field(
        default=None,
        ge=1,
        description="Most tokens, estimated from prompts and expected answers, that one server handles at once; "
        "null: any number.",
    )


class ReplicaDownError(Exception):
    """The server was taken down while a request was queued for it."""


@dataclass(eq=False)
class Replica:
    """One server: its requests in flight, its queue and its recent failures.

    The queue is ordered by turn, so the dialogue that started first goes first: dialogues in progress finish, and the
    server's prefix cache serves few of them instead of many. A request larger than every limit is sent once it can be
    alone.
    """

    base_url: str
    limits: Limits
    is_up: bool = True
    served: int = 0
    in_flight: int = 0
    tokens: int = 0
    failures: int = 0
    probes: int = 0
    _window: float = math.inf
    _last_backoff: float = -math.inf
    _paused_until: float = -math.inf
    _queue: list[tuple[int, int, int, asyncio.Future[None]]] = field(default_factory=list)
    _arrivals: int = 0

    def __post_init__(self) -> None:
        self._window = self._max_window = self.limits.max_in_flight or math.inf

    @property
    def load(self) -> int:
        """Requests in flight or queued."""
        return self.in_flight + len(self._queue)

    def answered(self) -> None:
        """Count an answer; the window grows by one request per window of answers."""
        self.served += 1
        self.failures = self.probes = 0
        self._window = min(self._max_window, self._window + 1 / self._window)

    def overloaded(self, sent: float) -> None:
        """Shrink the window at once; it grows back with each answer. Ignored for requests `sent` (time.monotonic)
        before the window last shrank: their refusals carry no news."""
        if sent >= self._last_backoff:
            self._last_backoff = time.monotonic()
            self._window = max(1.0, min(self._window, self.in_flight) * BACKOFF_FACTOR)

    def pause(self, seconds: float) -> None:
        """Send nothing for this many seconds."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)
        # The event loop's timers may fire early by the resolution of its clock.
        asyncio.get_running_loop().call_later(seconds + 0.001, self._admit)

    def take_down(self) -> None:
        """Mark the server as down; queued requests get ReplicaDownError."""
        self.is_up = False
        for *_, ready in self._queue:
            if not ready.done():
                ready.set_exception(ReplicaDownError())
        self._queue.clear()

    async def acquire(self, turn: int, tokens: int) -> None:
        """Wait for a slot, to be given back by `release`. Raises ReplicaDownError if the server is taken down
        meanwhile."""
        if not self._queue and self._has_room(tokens):
            self._take(tokens)
            return
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heapq.heappush(self._queue, (turn, self._arrivals, tokens, ready))
        try:
            await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled() and not ready.exception():
                self.release(tokens)  # admitted and cancelled at the same moment
            raise

    def release(self, tokens: int) -> None:
        """Give a slot back."""
        self.in_flight -= 1
        self.tokens -= tokens
        self._admit()

    def _admit(self) -> None:
        while self._queue:
            *_, tokens, ready = self._queue[0]
            if not ready.done():
                if not self._has_room(tokens):
                    return
                self._take(tokens)
                ready.set_result(None)
            heapq.heappop(self._queue)

    def _take(self, tokens: int) -> None:
        self.in_flight += 1
        self.tokens += tokens

    def _has_room(self, tokens: int) -> bool:
        if time.monotonic() < self._paused_until:
            return False
        if not self.in_flight:
            return True
        most_tokens = self.limits.max_tokens_in_flight or math.inf
        return self.in_flight + 1 <= self._window and self.tokens + tokens <= most_tokens


class ReplicaPool:
    """All servers. `probe` reports whether a server that is down answers again; it never raises."""

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
        self._assigned: OrderedDict[str, tuple[Replica, int]] = OrderedDict()
        self._turns = 0
        self._any_up = asyncio.Event()
        self._any_up.set()
        self._silent_since = math.inf
        self._probe_tasks: set[asyncio.Task[None]] = set()

    async def acquire(self, affinity: str, tokens: int) -> Replica:
        """A slot for `tokens` tokens at the dialogue's server; the caller releases it. While every server is down this
        waits, and raises UserError after `outage_s` seconds."""
        while True:
            await self._wait_for_any()
            replica, turn = self._assign(affinity)
            try:
                await replica.acquire(turn, tokens)
                return replica
            except ReplicaDownError:
                continue

    def failed(self, replica: Replica, problem: str) -> None:
        """Count a failure. Too many in a row take the server down, unless it is the last one: that one keeps being
        tried."""
        replica.failures += 1
        if replica.failures >= MAX_CONSECUTIVE_FAILURES and any(
            other.is_up for other in self.replicas if other is not replica
        ):
            self.take_down(replica, problem)

    def take_down(self, replica: Replica, problem: str) -> None:
        """Send a server nothing more until it answers a probe; its dialogues continue on other servers."""
        if not replica.is_up:
            return
        replica.take_down()
        up = sum(other.is_up for other in self.replicas)
        log.warning("%s is left out until it answers again (%s); %d servers are up", replica.base_url, problem, up)
        if not up:
            self._silent_since = time.monotonic()
            self._any_up.clear()
        task = asyncio.create_task(self._probe_until_up(replica))
        self._probe_tasks.add(task)
        task.add_done_callback(self._probe_tasks.discard)

    async def close(self) -> None:
        tasks = list(self._probe_tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _assign(self, affinity: str) -> tuple[Replica, int]:
        """A dialogue's server, where its prefix is cached, and the dialogue's turn.

        A dialogue moves only if its server is down. New ones are placed by rendezvous hashing, skipping servers loaded
        beyond LOAD_TOLERANCE, so the dialogues of a failed server spread over the others, too.
        """
        self._turns += affinity not in self._assigned
        replica, turn = self._assigned.get(affinity, (None, self._turns))
        if replica is None or not replica.is_up:
            ranked = [self.replicas[i] for i in rendezvous(affinity, len(self.replicas)) if self.replicas[i].is_up]
            highest_load = LOAD_TOLERANCE * (sum(other.load for other in ranked) + 1) / len(ranked)
            replica = next(other for other in ranked if other.load < highest_load)
        self._assigned[affinity] = replica, turn
        self._assigned.move_to_end(affinity)
        if len(self._assigned) > MAX_REMEMBERED_DIALOGUES:
            self._assigned.popitem(last=False)
        return replica, turn

    async def _wait_for_any(self) -> None:
        if self._any_up.is_set():
            return
        try:
            async with asyncio.timeout(max(0.0, self._silent_since + self._outage_s - time.monotonic())):
                await self._any_up.wait()
        except TimeoutError:
            urls = ", ".join(replica.base_url for replica in self.replicas)
            raise UserError(
                f"no server has answered for {self._outage_s:g} s: {urls}; start one again, "
                "the same command then resumes the run"
            ) from None

    async def _probe_until_up(self, replica: Replica) -> None:
        while True:
            await asyncio.sleep(min(FIRST_PROBE_S * 2.0**replica.probes, LAST_PROBE_S))
            replica.probes += 1
            if await self._probe(replica):
                break
        replica.is_up = True
        self._any_up.set()
        log.warning("%s answers again", replica.base_url)


def rendezvous(affinity: str, count: int) -> list[int]:
    """0..count-1 in this dialogue's order of preference (rendezvous hashing): each index comes first for an equal share
    of dialogues, and the dialogues of a missing one spread over all others."""

    def rank(index: int) -> bytes:
        return hashlib.blake2b(f"{affinity}\0{index}".encode(), digest_size=8).digest()

    return sorted(range(count), key=rank)
