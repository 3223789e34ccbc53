"""Several servers that die, refuse, lag and come back in the middle of a run: nothing is lost and no limit exceeded."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import pickle
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from core.messages import UserMessage
from core.serving import free_ports
from core.settings import UserError
from generation.llm.base import LLMError
from generation.llm.openai import OpenAILLM
from generation.llm.replicas import DrainedError, Limits, Replica, rendezvous
from tests.generation.helpers.misbehaving_servers import REQUEST, Mock, client, reply, said, serving, slow, status

CALLS = 6


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generation.llm.replicas.FIRST_PROBE_S", 0.02)
    monkeypatch.setattr("generation.llm.replicas.LAST_PROBE_S", 0.05)


@contextlib.asynccontextmanager
async def fleet(count: int, *script: Any) -> AsyncIterator[list[Mock]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serving(*script)) for _ in range(count)]


async def dialogues(llm: OpenAILLM, names: Iterable[str], calls: int = CALLS) -> Counter[str]:
    """All at once, each a chain of calls; how many answers each got."""
    got: Counter[str] = Counter()

    async def one(name: str) -> None:
        for turn in range(calls):
            await llm.complete(said(name, turn))
            got[name] += 1

    await asyncio.gather(*map(one, names))
    return got


def names(count: int) -> list[str]:
    return [f"d{i}" for i in range(count)]


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what other tasks do."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


async def test_a_dialogue_keeps_to_its_replica() -> None:
    async with fleet(3) as mocks, client(*(mock.url for mock in mocks)) as llm:
        for turn, name in itertools.product(range(3), names(60)):
            await llm.complete(said(name, turn))
    homes = [set(mock.dialogues) for mock in mocks]
    assert sum(map(len, homes)) == 60, "each dialogue at one replica only"
    assert all(len(home) >= 8 for home in homes), "and the dialogues spread"


async def test_a_replica_that_dies_in_the_middle_loses_nothing_and_is_taken_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with fleet(2, slow(0.01)) as (a, b), AsyncExitStack() as mortal:
        c = await mortal.enter_async_context(serving(slow(0.01)))
        async with client(a.url, b.url, c.url, backoff_s=0.005) as llm:
            running = asyncio.create_task(dialogues(llm, names(60)))
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
            assert await dialogues(llm, fresh, 2) == dict.fromkeys(fresh, 2)
    assert set(again.dialogues) & set(fresh)
    assert not set(again.dialogues) & moved, "a dialogue that moved stays where its prefix is now"
    for mock in (a, b):
        later = [name for name in mock.dialogues if name in moved]
        assert later
    homes = Counter(name for mock in (a, b) for name in set(mock.dialogues) if name in moved)
    assert set(homes.values()) == {1}, "and it moved to one server only"


async def test_a_server_that_never_stood_costs_no_attempt(caplog: pytest.LogCaptureFixture) -> None:
    dead = f"http://127.0.0.1:{free_ports(1)[0]}/v1"
    async with serving() as mock, client(dead, mock.url, retries=0) as llm:
        assert await dialogues(llm, names(20), 1) == dict.fromkeys(names(20), 1)
    assert len(mock.seen) == 20
    assert caplog.text.count("is left out") == 1


async def test_a_replica_that_only_fails_is_drained_as_long_as_another_stands(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as well, serving(status(500, "engine is dead")) as ill, client(well.url, ill.url) as llm:
        for name in names(40):
            await llm.complete(said(name))
    assert len(well.seen) == 40
    assert 3 <= len(ill.seen) <= 12, "three failures, and one more each time that it claimed to be there"
    assert "engine is dead" in caplog.text


async def test_the_last_replica_is_not_drained_for_failing() -> None:
    async with serving(*[status(500)] * 5, lambda _: reply()) as mock, client(mock.url, retries=5) as llm:
        await llm.complete(REQUEST)
    assert len(mock.seen) == 6


def crowded(most: int, seconds: float, **headers: str) -> tuple[Any, dict[str, int]]:
    """A server's rule: more than `most` at once get 429. And what it counted."""
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


async def test_a_storm_of_429_loses_nothing_and_dies_down() -> None:
    rule, count = crowded(most=4, seconds=0.01)
    async with serving(rule) as mock, client(mock.url, max_in_flight=64, backoff_s=0.01, retries=3) as llm:
        assert await dialogues(llm, names(64)) == dict.fromkeys(names(64), CALLS)
    answered = 64 * CALLS
    assert len(mock.seen) == answered + count["refused"]
    assert 0 < count["refused"] < answered, "it found out how much the server takes"


async def test_a_storm_that_never_ends_is_an_error() -> None:
    async with serving(status(429, "quota exceeded")) as mock, client(mock.url) as llm:
        with pytest.raises(LLMError, match=r"quota exceeded \(tried 4 times\)"):
            await llm.complete(REQUEST)
    assert len(mock.seen) == 4


async def test_retry_after_holds_back_all_requests_to_that_server_and_no_others() -> None:
    loop, at = asyncio.get_running_loop(), []

    def note(_: dict[str, Any]) -> web.Response:
        at.append(loop.time())
        return status(429, Retry_After="1")({}) if len(at) == 1 else reply()  # type: ignore[return-value]

    async with serving(note) as limited, serving() as free, client(limited.url, free.url) as llm:
        there = next(name for name in names(99) if rendezvous(name, 2)[0] == 0)
        here = next(name for name in names(99) if rendezvous(name, 2)[0] == 1)
        first = asyncio.create_task(llm.complete(said(there)))
        await until(lambda: bool(at))
        second = asyncio.create_task(llm.complete(said(there, 1)))
        await llm.complete(said(here))
        assert len(at) == 1
        await asyncio.gather(first, second)
    assert len(at) == 3
    assert all(time - at[0] >= 0.99 for time in at[1:])


async def test_a_slow_replica_gets_fewer_dialogues() -> None:
    async with serving(slow(0.2)) as lame, fleet(2, slow(0.005)) as (a, b), client(lame.url, a.url, b.url) as llm:
        waiting = iter(names(120))

        async def work() -> None:
            for name in waiting:
                await llm.complete(said(name))

        await asyncio.gather(*(work() for _ in range(12)))
    assert len(lame.seen) + len(a.seen) + len(b.seen) == 120
    assert len(lame.seen) < 20 < min(len(a.seen), len(b.seen)), "a third would be 40"


async def test_all_dead_waits_for_one_to_come_back() -> None:
    async with AsyncExitStack() as mortal:
        mock = await mortal.enter_async_context(serving(slow(0.005)))
        port = int(mock.url.split(":")[2].split("/")[0])
        async with client(mock.url, retries=2, outage_s=20) as llm:
            running = asyncio.create_task(dialogues(llm, names(20), 20))
            await until(lambda: len(mock.seen) >= 30)
            await mortal.aclose()
            await asyncio.sleep(0.2)
            assert not running.done()
            await mortal.enter_async_context(serving(port=port))
            assert await running == dict.fromkeys(names(20), 20)


async def test_all_dead_for_too_long_is_an_error_that_names_them() -> None:
    async with AsyncExitStack() as mortal:
        mock = await mortal.enter_async_context(serving())
        async with client(mock.url, outage_s=0.3) as llm:
            await llm.complete(REQUEST)
            await mortal.aclose()
            results = await asyncio.gather(*(llm.complete(said(name)) for name in names(5)), return_exceptions=True)
    assert {type(result) for result in results} == {UserError}
    assert f"no server has answered for 0.3 s: {mock.url}" in str(results[0])


async def test_one_meeting_for_all_and_a_failed_one_fails_for_all_at_once() -> None:
    port = free_ports(1)[0]
    async with client(f"http://127.0.0.1:{port}/v1", retries=2, backoff_s=0.2) as llm:
        asked = asyncio.gather(*(llm.complete(said(name)) for name in names(50)), return_exceptions=True)
        results = await asyncio.wait_for(asked, timeout=5)  # one after the other would take 50 × (0.2 + 0.4) s
        assert {type(result) for result in results} == {UserError}
        async with serving(port=port) as mock:
            await llm.complete(REQUEST)
        assert len(mock.seen) == 1


async def test_a_request_that_is_cancelled_does_not_end_the_meeting_of_the_others() -> None:
    async with serving() as mock, client(mock.url) as llm:
        first, second = (asyncio.create_task(llm.complete(said(name))) for name in names(2))
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


async def test_a_server_that_comes_back_with_another_model_stays_out() -> None:
    port = free_ports(1)[0]
    async with serving() as mock, client(f"http://127.0.0.1:{port}/v1", mock.url) as llm:
        await llm.complete(REQUEST)
        async with serving(models=("other",), port=port) as other:
            await asyncio.sleep(0.2)
            await dialogues(llm, names(20), 1)
            assert other.seen == []


async def test_limits_hold_at_each_server_and_for_each_role() -> None:
    async with fleet(2, slow(0.005)) as (a, b), client(a.url, b.url, max_in_flight=3) as llm:
        assert await dialogues(llm, names(24), 3) == dict.fromkeys(names(24), 3)
    assert (a.most, b.most) == (3, 3)
    async with serving(slow(0.01)) as mock, client(mock.url, role_max_in_flight={"judge": 2}) as llm:
        roles = ("judge", "agent")
        requests = [said(f"{role}{i}", role=role, tools=()) for role in roles for i in range(8)]
        await asyncio.gather(*map(llm.complete, requests[:8]))
        judges, mock.most = mock.most, 0
        await asyncio.gather(*map(llm.complete, requests))
    assert (judges, mock.most) == (2, 10)
    for setting in ({"max_in_flight": 0}, {"max_tokens_in_flight": -1}, {"role_max_in_flight": {"judge": 0}}):
        with pytest.raises(UserError, match=r"expected at least 1"):
            OpenAILLM(["http://127.0.0.1:1/v1"], **setting)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"role_max_in_flight names the unknown roles \['juge'\]"):
        OpenAILLM(["http://127.0.0.1:1/v1"], role_max_in_flight={"juge": 1})  # type: ignore[dict-item]


async def test_tokens_in_flight_are_bounded_but_a_huge_request_is_sent_alone() -> None:
    now = most = 0

    async def weigh(body: dict[str, Any]) -> web.Response:
        nonlocal now, most
        size = len(str(body["messages"][0]["content"])) // 4
        now, most = now + size, max(most, now + size)
        await asyncio.sleep(0.005)
        now -= size
        return reply()

    sizes = [4_000] * 12 + [40_000]
    options = {"max_tokens_in_flight": 5_000, "sampling": {"max_tokens": 16}}
    async with serving(weigh) as mock, client(mock.url, **options) as llm:
        requests = [replace(said(f"d{i}"), messages=(UserMessage(content="x" * size),)) for i, size in enumerate(sizes)]
        await asyncio.gather(*map(llm.complete, requests))
    assert len(mock.seen) == 13
    assert mock.most == 4, "four of 1,000 tokens and what is around them"
    assert most == 10_000, "nothing beside the huge one"


async def test_dialogues_begun_first_go_first() -> None:
    """With room for one, the calls of a dialogue in progress pass those of dialogues that came later."""
    async with serving(slow(0.005)) as mock, client(mock.url, max_in_flight=1) as llm:
        await dialogues(llm, names(5), 4)
    order = [int(name[1:]) for name in mock.dialogues]
    finished = [max(i for i, who in enumerate(order) if who == dialogue) for dialogue in range(5)]
    assert finished == sorted(finished)
    begun = [order.index(dialogue) for dialogue in range(5)]
    assert begun[4] > finished[0], "the first is over before the last begins"


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 30), st.integers(0, 3)), min_size=1, max_size=30),
    st.one_of(st.none(), st.integers(1, 4)),
    st.one_of(st.none(), st.integers(10, 60)),
)
@settings(max_examples=60, deadline=None)
def test_a_gate_lets_everybody_in_within_its_limits(
    wanted: list[tuple[int, int, int]], requests: int | None, tokens: int | None
) -> None:
    """Turns, tokens and fates (3: cancelled while it waits or works) at random, against plain counting."""

    async def scenario() -> None:
        replica = Replica("http://x", Limits(requests, tokens))
        inside: list[int] = []
        passed = 0

        async def one(turn: int, size: int, fate: int) -> None:
            nonlocal passed
            await replica.enter(turn, size)
            inside.append(size)
            try:
                assert len(inside) <= (requests or 99)
                assert sum(inside) <= (tokens or 10**9) or inside == [size]
                for _ in range(fate):
                    await asyncio.sleep(0)
            finally:
                inside.remove(size)
                replica.leave(size)
            passed += 1

        tasks = [asyncio.create_task(one(*each)) for each in wanted]
        await asyncio.sleep(0)
        for task, (_, _, fate) in zip(tasks, wanted, strict=True):
            if fate == 3:
                task.cancel()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), timeout=5)
        assert not [result for result in results if isinstance(result, AssertionError)]
        assert passed >= sum(fate < 3 for *_, fate in wanted)
        assert (replica.in_flight, replica.tokens, replica.load) == (0, 0, 0)

    asyncio.run(scenario())


async def test_who_waits_at_a_drained_server_is_sent_away() -> None:
    replica = Replica("http://x", Limits(requests=1))
    await replica.enter(0, 1)
    waiting = asyncio.create_task(replica.enter(1, 1))
    await asyncio.sleep(0)
    assert replica.load == 2
    replica.drain()
    with pytest.raises(DrainedError):
        await waiting
    replica.leave(1)
    assert (replica.in_flight, replica.load) == (0, 0)


async def test_a_client_can_be_sent_to_another_process_before_it_is_used() -> None:
    async with serving() as mock, client(mock.url, role_max_in_flight={"agent": 2}) as llm:
        copy = pickle.loads(pickle.dumps(llm))
        assert (await copy.complete(REQUEST)).message.content == "hello"
        await copy.close()


@given(st.text(max_size=8), st.integers(2, 12))
def test_a_missing_server_moves_only_its_own_dialogues(affinity: str, count: int) -> None:
    order = rendezvous(affinity, count)
    assert sorted(order) == list(range(count))
    assert [index for index in order if index != count - 1] == rendezvous(affinity, count - 1)
