"""Several servers that die, refuse, lag and come back during a run: no request fails and no limit is exceeded."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web

from core.servers import free_ports
from core.settings import UserError
from generation.llm.base import LLMError
from generation.llm.replicas import Replica, rendezvous
from tests.generation.helpers.misbehaving_servers import REQUEST, client, reply, request_of, serving, slow, status
from tests.generation.helpers.transports import CALLS, names, run_dialogues, servers

pytestmark = pytest.mark.usefixtures("quick_probes")


async def until(condition: Callable[[], bool]) -> None:
    """Wait until other tasks make the condition true, for at least half a minute."""
    for _ in range(15_000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("the condition did not become true")


async def test_a_dialogue_sticks_to_its_replica() -> None:
    async with servers(3) as mocks, client(*(mock.url for mock in mocks)) as llm:
        for turn, name in itertools.product(range(3), names(60)):
            await llm.complete(request_of(name, turn))
    homes = [set(mock.dialogues) for mock in mocks]
    assert sum(map(len, homes)) == 60, "each dialogue at one replica only"
    assert all(len(home) >= 8 for home in homes), "and the dialogues spread"


async def test_a_replica_that_dies_during_a_run_loses_no_request_and_is_used_again_once_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with servers(2, slow(0.01)) as (a, b), AsyncExitStack() as mortal:
        c = await mortal.enter_async_context(serving(slow(0.01)))
        async with client(a.url, b.url, c.url, backoff_s=0.005) as llm:
            running = asyncio.create_task(run_dialogues(llm, names(60)))
            await until(lambda: len(c.seen) >= 40)
            await mortal.aclose()
            assert await running == dict.fromkeys(names(60), CALLS)
            moved = set(c.dialogues)
            assert moved & set(a.dialogues)
            assert moved & set(b.dialogues), "its dialogues spread over the others"
            assert f"{c.url} is left out until it answers again" in caplog.text
            port = int(c.url.split(":")[2].split("/")[0])
            again = await mortal.enter_async_context(serving(slow(0.01), port=port))
            await until(lambda: f"{c.url} answers again" in caplog.text)
            fresh = [f"later{i}" for i in range(60)]
            assert await run_dialogues(llm, fresh, 2) == dict.fromkeys(fresh, 2)
    assert set(again.dialogues) & set(fresh)
    assert not set(again.dialogues) & moved, "a dialogue that moved stays where its prefix is now"
    for mock in (a, b):
        later = [name for name in mock.dialogues if name in moved]
        assert later
    homes = Counter(name for mock in (a, b) for name in set(mock.dialogues) if name in moved)
    assert set(homes.values()) == {1}, "and it moved to one server only"


async def test_a_server_that_was_never_up_costs_no_attempt(caplog: pytest.LogCaptureFixture) -> None:
    dead = f"http://127.0.0.1:{free_ports(1)[0]}/v1"
    async with serving() as mock, client(dead, mock.url, retries=0) as llm:
        assert await run_dialogues(llm, names(20), 1) == dict.fromkeys(names(20), 1)
    assert len(mock.seen) == 20
    assert caplog.text.count("is left out") == 1


async def test_a_replica_that_only_fails_is_taken_down_while_another_is_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        serving() as healthy,
        serving(status(500, "engine is dead")) as failing,
        client(healthy.url, failing.url) as llm,
    ):
        for name in names(40):
            await llm.complete(request_of(name))
    assert len(healthy.seen) == 40
    assert 3 <= len(failing.seen) <= 12, "three failures, and one more each time that it answered a probe"
    assert "engine is dead" in caplog.text


async def test_the_last_replica_is_not_taken_down_for_failing() -> None:
    async with serving(*[status(500)] * 5, lambda _: reply()) as mock, client(mock.url, retries=5) as llm:
        await llm.complete(REQUEST)
    assert len(mock.seen) == 6


def crowded(most: int, seconds: float, **headers: str) -> tuple[Any, dict[str, int]]:
    """A server that answers 429 to more than `most` requests at once, and its counts."""
    count = {"now": 0, "refused": 0}

    async def answer(_: dict[str, Any]) -> web.Response:
        if count["now"] >= most:
            count["refused"] += 1
            return web.Response(status=429, text="too many", headers=headers)
        count["now"] += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            count["now"] -= 1
        return reply()

    return answer, count


async def test_a_storm_of_429_loses_no_request_and_subsides() -> None:
    rule, count = crowded(most=4, seconds=0.01)
    async with serving(rule) as mock, client(mock.url, max_in_flight=64, backoff_s=0.01, retries=3) as llm:
        assert await run_dialogues(llm, names(64)) == dict.fromkeys(names(64), CALLS)
    answered = 64 * CALLS
    assert len(mock.seen) == answered + count["refused"]
    assert 0 < count["refused"] < answered, "it learns how much the server can take"


async def test_a_storm_that_never_ends_is_an_error() -> None:
    async with serving(status(429, "quota exceeded")) as mock, client(mock.url) as llm:
        with pytest.raises(LLMError, match=r"quota exceeded \(tried 4 times\)"):
            await llm.complete(REQUEST)
    assert len(mock.seen) == 4


@pytest.mark.parametrize(
    ("retry_after", "least_s"),
    [(lambda: "1", 0.99), (lambda: formatdate(time.time() + 2, usegmt=True), 0.9)],
    ids=["seconds", "date"],
)
async def test_retry_after_pauses_all_requests_to_that_server_and_no_others(
    retry_after: Callable[[], str], least_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A date has whole seconds, so two seconds ahead may be hardly more than one."""
    loop, at = asyncio.get_running_loop(), []
    pause, pausing = Replica.pause, asyncio.Event()

    def pause_and_tell(replica: Replica, seconds: float) -> None:
        pause(replica, seconds)
        pausing.set()

    monkeypatch.setattr(Replica, "pause", pause_and_tell)

    def note(_: dict[str, Any]) -> web.Response:
        at.append(loop.time())
        return status(429, Retry_After=retry_after())({}) if len(at) == 1 else reply()

    async with serving(note) as limited, serving() as free, client(limited.url, free.url) as llm:
        paused = next(name for name in names(99) if rendezvous(name, 2)[0] == 0)
        unaffected = next(name for name in names(99) if rendezvous(name, 2)[0] == 1)
        first = asyncio.create_task(llm.complete(request_of(paused)))
        await asyncio.wait_for(pausing.wait(), 30)  # the client has read the refusal; before that it may send more
        second = asyncio.create_task(llm.complete(request_of(paused, 1)))
        await llm.complete(request_of(unaffected))
        assert len(at) == 1
        await asyncio.gather(first, second)
    assert len(at) == 3
    assert all(later - at[0] >= least_s for later in at[1:])


async def test_a_slow_replica_gets_fewer_dialogues() -> None:
    async with (
        serving(slow(0.2)) as laggard,
        servers(2, slow(0.005)) as (a, b),
        client(laggard.url, a.url, b.url) as llm,
    ):
        queue = iter(names(120))

        async def work() -> None:
            for name in queue:
                await llm.complete(request_of(name))

        await asyncio.gather(*(work() for _ in range(12)))
    assert len(laggard.seen) + len(a.seen) + len(b.seen) == 120
    assert len(laggard.seen) < 20 < min(len(a.seen), len(b.seen)), "a third would be 40"


async def test_with_every_server_dead_it_waits_for_one_to_return() -> None:
    async with AsyncExitStack() as mortal:
        mock = await mortal.enter_async_context(serving(slow(0.005)))
        port = int(mock.url.split(":")[2].split("/")[0])
        async with client(mock.url, retries=2, outage_s=20) as llm:
            running = asyncio.create_task(run_dialogues(llm, names(20), 20))
            await until(lambda: len(mock.seen) >= 30)
            await mortal.aclose()
            await asyncio.sleep(0.2)
            assert not running.done()
            await mortal.enter_async_context(serving(port=port))
            assert await running == dict.fromkeys(names(20), 20)


async def test_an_outage_beyond_the_limit_is_an_error_that_names_the_servers() -> None:
    async with AsyncExitStack() as mortal:
        mock = await mortal.enter_async_context(serving())
        async with client(mock.url, outage_s=0.3) as llm:
            await llm.complete(REQUEST)
            await mortal.aclose()
            results = await asyncio.gather(
                *(llm.complete(request_of(name)) for name in names(5)), return_exceptions=True
            )
    assert {type(result) for result in results} == {UserError}
    assert f"no server has answered for 0.3 s: {mock.url}" in str(results[0])


async def test_all_requests_share_one_connection_check_and_its_failure() -> None:
    port = free_ports(1)[0]
    async with client(f"http://127.0.0.1:{port}/v1", retries=2, backoff_s=0.2) as llm:
        requests = asyncio.gather(*(llm.complete(request_of(name)) for name in names(50)), return_exceptions=True)
        results = await asyncio.wait_for(requests, timeout=5)  # one after the other would take 50 × (0.2 + 0.4) s
        assert {type(result) for result in results} == {UserError}
        async with serving(port=port) as mock:
            await llm.complete(REQUEST)
        assert len(mock.seen) == 1


async def test_a_cancelled_request_does_not_cancel_the_connection_check_of_the_others() -> None:
    async with serving() as mock, client(mock.url) as llm:
        first, second = (asyncio.create_task(llm.complete(request_of(name))) for name in names(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).message.content == "hello"


async def test_servers_of_different_models_are_the_users_mistake() -> None:
    async with serving() as a, serving(models=("other",)) as b, client(a.url, b.url) as llm:
        with pytest.raises(UserError, match=r"different models \(other, tiny\)"):
            await llm.complete(REQUEST)
    async with serving() as a, serving(models=("other",)) as b, client(a.url, b.url, model="tiny") as llm:
        with pytest.raises(UserError, match=f"{b.url} does not offer the model 'tiny'"):
            await llm.complete(REQUEST)


async def test_a_server_that_returns_with_another_model_stays_down() -> None:
    port = free_ports(1)[0]
    async with serving() as mock, client(f"http://127.0.0.1:{port}/v1", mock.url) as llm:
        await llm.complete(REQUEST)
        async with serving(models=("other",), port=port) as other:
            await asyncio.sleep(0.2)
            await run_dialogues(llm, names(20), 1)
            assert other.seen == []
