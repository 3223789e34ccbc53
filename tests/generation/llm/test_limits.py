"""Limits per server and role, queues, and tokens in flight."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from core.messages import UserMessage
from core.settings import UserError
from generation.llm.openai import OpenAILLM
from generation.llm.replicas import Limits, Replica, ReplicaDownError, rendezvous
from tests.generation.helpers.misbehaving_servers import REQUEST, client, reply, request_of, serving, slow
from tests.generation.helpers.transports import names, run_dialogues, servers

pytestmark = pytest.mark.usefixtures("quick_probes")


async def test_limits_apply_to_each_server_and_to_each_role() -> None:
    async with servers(2, slow(0.005)) as (a, b), client(a.url, b.url, max_in_flight=3) as llm:
        assert await run_dialogues(llm, names(24), 3) == dict.fromkeys(names(24), 3)
    assert (a.most, b.most) == (3, 3)
    async with serving(slow(0.01)) as mock, client(mock.url, role_max_in_flight={"judge": 2}) as llm:
        roles = ("judge", "agent")
        requests = [request_of(f"{role}{i}", role=role, tools=()) for role in roles for i in range(8)]
        await asyncio.gather(*map(llm.complete, requests[:8]))
        judges, mock.most = mock.most, 0
        await asyncio.gather(*map(llm.complete, requests))
    assert (judges, mock.most) == (2, 10)
    for setting in ({"max_in_flight": 0}, {"max_tokens_in_flight": -1}, {"role_max_in_flight": {"judge": 0}}):
        with pytest.raises(UserError, match=r"Input should be greater than or equal to 1"):
            OpenAILLM(["http://127.0.0.1:1/v1"], **setting)
    with pytest.raises(UserError, match=r"'role_max_in_flight\.juge\.\[key\]': Input should be 'tool_maker', "):
        OpenAILLM(["http://127.0.0.1:1/v1"], role_max_in_flight={"juge": 1})


async def test_tokens_in_flight_are_bounded_and_a_huge_request_is_sent_alone() -> None:
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
        requests = [
            replace(request_of(f"d{i}"), messages=(UserMessage(content="x" * size),)) for i, size in enumerate(sizes)
        ]
        await asyncio.gather(*map(llm.complete, requests))
    assert len(mock.seen) == 13
    assert mock.most == 4, "four of 1,000 tokens each plus their envelopes"
    assert most == 10_000, "the huge one is alone"


async def test_dialogues_that_started_first_go_first() -> None:
    """With one slot, calls of a dialogue in progress overtake those of dialogues that came later."""
    async with serving(slow(0.005)) as mock, client(mock.url, max_in_flight=1) as llm:
        await run_dialogues(llm, names(5), 4)
    order = [int(name[1:]) for name in mock.dialogues]
    finished = [max(i for i, caller in enumerate(order) if caller == dialogue) for dialogue in range(5)]
    assert finished == sorted(finished)
    started = [order.index(dialogue) for dialogue in range(5)]
    assert started[4] > finished[0], "the first is over before the last starts"


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 30), st.integers(0, 3)), min_size=1, max_size=30),
    st.one_of(st.none(), st.integers(1, 4)),
    st.one_of(st.none(), st.integers(10, 60)),
)
@settings(max_examples=60, deadline=None)
def test_a_replica_admits_every_request_within_its_limits(
    wanted: list[tuple[int, int, int]], requests: int | None, tokens: int | None
) -> None:
    """Random turns, tokens and fates (3: cancelled while queued or in flight), against plain counting."""

    async def scenario() -> None:
        replica = Replica("http://x", Limits(max_in_flight=requests, max_tokens_in_flight=tokens))
        inside: list[int] = []
        passed = 0

        async def one(turn: int, size: int, fate: int) -> None:
            nonlocal passed
            await replica.acquire(turn, size)
            inside.append(size)
            try:
                assert len(inside) <= (requests or 99)
                assert sum(inside) <= (tokens or 10**9) or inside == [size]
                for _ in range(fate):
                    await asyncio.sleep(0)
            finally:
                inside.remove(size)
                replica.release(size)
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


async def test_requests_queued_at_a_server_that_is_taken_down_are_turned_away() -> None:
    replica = Replica("http://x", Limits(max_in_flight=1))
    await replica.acquire(0, 1)
    waiting = asyncio.create_task(replica.acquire(1, 1))
    await asyncio.sleep(0)
    assert replica.load == 2
    replica.take_down()
    with pytest.raises(ReplicaDownError):
        await waiting
    replica.release(1)
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
