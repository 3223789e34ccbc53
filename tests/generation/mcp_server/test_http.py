"""The server over HTTP, driven by the official SDK's client and by raw and hostile requests."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from mcp import Client, MCPError

from core.typography import typed_values
from generation.environments.sql import SqlDomainEnvironment
from tests.generation.helpers.hostile_sql import FORBIDDEN, INJECTIONS
from tests.generation.helpers.served_shops import (
    HEADERS,
    INITIALIZE,
    MESSAGE_BYTES,
    called,
    post,
    served_shop,
    shop_toolset,
    state,
    text,
)
from tests.generation.helpers.shop_database import TOOLS

CUSTOMERS = [
    {"customer_id": 1, "name": "Ada", "city": "Rome", "email": "ada@x.org"},
    {"customer_id": 2, "name": "Bo", "city": "Oslo", "email": "bo@x.org"},
    {"customer_id": 3, "name": "Cy", "city": None, "email": None},
]


async def test_the_official_client_lists_and_calls_the_tools_of_the_domain() -> None:
    async with served_shop() as served, Client(served.url) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert listed.keys() == {tool.spec.name for tool in TOOLS}
        assert all(listed[tool.spec.name].input_schema == tool.spec.parameters for tool in TOOLS)
        assert "Sells stationery." in (client.instructions or "")
        assert await called(client, "list_customers") == CUSTOMERS
        assert await called(client, "update_city", customer_id=2, city="Bergen") == {"rows_affected": 1}
        assert (await called(client, "get_customer", customer_id=2))[0]["city"] == "Bergen"


async def test_results_state_and_diff_are_those_of_the_environment(tmp_path: Any) -> None:
    toolset = shop_toolset(tmp_path)
    assert toolset.database
    direct = SqlDomainEnvironment("shop", toolset.database, TOOLS).open()
    calls: list[tuple[str, dict[str, Any]]] = [
        ("create_customer", {"name": "Di", "city": "Nice", "email": "di@x.org"}),
        ("get_customer", {"customer_id": 4}),
        ("delete_customer", {"customer_id": 1}),
        ("update_price", {"sku": "pen", "price": -1}),
    ]
    async with served_shop() as served, Client(served.url) as client:
        for name, arguments in calls:
            expected = await direct.call(name, arguments)
            result = await client.call_tool(name, arguments)
            assert (text(result), result.is_error) == (expected.content, expected.error)
        shop = (await state(client))["domains"]["shop"]
    assert shop["final_hash"] == direct.state_hash() != shop["initial_hash"]
    assert shop["diff"] == list(direct.state_diff())
    ((session, (line,)),) = served.closed
    assert session.calls == len(calls)
    assert line.state
    assert line.state.model_dump(mode="json") == shop


async def test_two_sessions_at_once_do_not_see_each_other() -> None:
    async with served_shop() as served, Client(served.url) as one, Client(served.url) as other:
        await called(one, "delete_customer", customer_id=1)
        await called(other, "update_city", customer_id=1, city="Pisa")
        assert [row["name"] for row in await called(one, "list_customers")] == ["Bo", "Cy"]
        assert (await called(other, "list_customers"))[0]["city"] == "Pisa"
        assert (await state(one))["domains"] != (await state(other))["domains"]
        async with Client(served.url) as third:
            assert await called(third, "list_customers") == CUSTOMERS


async def test_interleaved_calls_of_many_sessions_stay_apart() -> None:
    async def work(url: str, number: int) -> list[str]:
        async with Client(url) as client:
            for step in range(5):
                await called(client, "create_visit", customer_id=number, page=f"{number}/{step}")
                await asyncio.sleep(0)
            return [row["page"] for row in await called(client, "list_visits")]

    async with served_shop() as served:
        seen = await asyncio.gather(*(work(served.url, number) for number in range(8)))
    initial = ["home", "home", "cart", None]
    for number, pages in enumerate(seen):
        assert sorted(map(str, pages)) == sorted(map(str, [*initial, *(f"{number}/{step}" for step in range(5))]))


async def test_several_domains_have_prefixed_tools_and_a_line_each() -> None:
    async with served_shop("shop", "kiosk") as served, Client(served.url) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names == {f"{domain}__{tool.spec.name}" for domain in ("shop", "kiosk") for tool in TOOLS}
        await called(client, "kiosk__delete_customer", customer_id=1)
        assert len(await called(client, "shop__list_customers")) == 3
        assert len(await called(client, "kiosk__list_customers")) == 2
        domains = (await state(client))["domains"]
        assert not domains["shop"]["diff"]
        assert domains["kiosk"]["diff"]
    ((_, lines),) = served.closed
    assert [line.domain for line in lines] == ["shop", "kiosk"]
    assert [line.dialogue_id for line in lines] == ["session-0000001-shop", "session-0000001-kiosk"]


# Hostile input


@pytest.mark.parametrize("column", ["name", "city", "email"])
async def test_hostile_texts_stay_values(column: str) -> None:
    given = {"name": "a", "city": "b", "email": "c"}
    async with served_shop(sessions=2) as served, Client(served.url) as victim, Client(served.url) as client:
        for value in INJECTIONS + [sql for sql in FORBIDDEN if "\ud800" not in sql]:
            result = await client.call_tool("create_customer", given | {"email": value, column: value})
            if not result.is_error:
                key = json.loads(text(result))["customer_id"]
                (row,) = await called(client, "get_customer", customer_id=key)
                assert row[column] in (value, typed_values({column: value})[column])
        assert len(await called(client, "list_orders")) == 2, "no table lost a row"
        assert await called(victim, "list_customers") == CUSTOMERS


WRONG = {
    "unknown tool": ("drop_tables", {}, "there is no tool 'drop_tables'"),
    "SQL for a name": ("list_customers; DROP TABLE customers", {}, "there is no tool"),
    "wrong type": ("get_customer", {"customer_id": "1 OR 1=1"}, "customer_id"),
    "object for a number": ("get_customer", {"customer_id": {"$gt": 0}}, "customer_id"),
    "list for a text": ("delete_items", {"sku": ["pen", "ink"]}, "sku"),
    "missing": ("update_city", {"customer_id": 1}, "city"),
    "unknown argument": ("get_customer", {"customer_id": 1, "limit": 5}, "limit"),
    "huge number": ("get_customer", {"customer_id": 10**40}, "int"),
    "deep nesting": ("get_customer", {"customer_id": json.loads("[" * 90 + "]" * 90)}, "customer_id"),
    "null": ("get_customer", {"customer_id": None}, "customer_id"),
}


@pytest.mark.parametrize("kind", WRONG)
async def test_wrong_calls_get_errors_that_name_the_argument(kind: str) -> None:
    name, arguments, named = WRONG[kind]
    async with served_shop() as served, Client(served.url) as client:
        result = await client.call_tool(name, arguments)
        assert result.is_error
        assert named in json.loads(text(result))["error"]
        assert await called(client, "list_customers") == CUSTOMERS


async def open_session(url: str) -> str:
    status, _, session = await post(url, INITIALIZE)
    assert status == 200
    assert session
    await post(url, {"jsonrpc": "2.0", "method": "notifications/initialized"}, **{"mcp-session-id": session})
    return session


def call_body(arguments: str) -> str:
    parameters = f'{{"name": "update_city", "arguments": {arguments}}}'
    return f'{{"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {parameters}}}'


BODIES = {
    "not JSON": "DROP TABLE customers",
    "empty": "",
    "a list": "[]",
    "a number": "7",
    "NUL": "\x00",
    "broken UTF-8": b'{"jsonrpc": "2.0", "id": 2, "method": "\xff"}',
    "deeply nested": "[" * 9_000 + "]" * 9_000,
    "arguments as a list": call_body("[1, 2]"),
    "arguments as a text": call_body('"customer_id=1"'),
    "arguments as a number": call_body("1e999"),
    "not a number": call_body('{"customer_id": NaN, "city": "x"}'),
    "infinite": call_body('{"customer_id": Infinity, "city": "x"}'),
    "lone surrogate": call_body('{"customer_id": 1, "city": "\\ud800"}'),
    "lone surrogate as a name": call_body('{"\\udfff": 1}'),
    "endless digits": call_body(f'{{"customer_id": {"9" * 9_000}, "city": "x"}}'),
    "unknown method": '{"jsonrpc": "2.0", "id": 2, "method": "tools/drop"}',
    "second initialisation": json.dumps(INITIALIZE),
    "another resource": json.dumps(
        {"jsonrpc": "2.0", "id": 2, "method": "resources/read", "params": {"uri": "file:///etc/passwd"}}
    ),
}


@pytest.mark.parametrize("kind", BODIES)
async def test_malformed_messages_are_refused_and_the_session_lives_on(kind: str) -> None:
    async with served_shop() as served:
        session = {"mcp-session-id": await open_session(served.url)}
        _, body, _ = await post(served.url, BODIES[kind], **session)
        assert "error" in body
        assert "root:" not in body
        listed = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "list_customers"}}
        status, body, _ = await post(served.url, listed, **session)
        assert status == 200
        assert json.loads(json.loads(body)["result"]["content"][0]["text"]) == CUSTOMERS


async def test_a_message_that_is_too_large_is_refused_unread() -> None:
    async with served_shop() as served:
        session = {"mcp-session-id": await open_session(served.url)}
        status, _, _ = await post(served.url, call_body(json.dumps({"city": "x" * MESSAGE_BYTES})), **session)
        assert status == 413
        status, _, _ = await post(served.url, INITIALIZE | {"padding": "x" * MESSAGE_BYTES})
        assert status == 413


async def test_other_hosts_and_origins_are_refused() -> None:
    async with served_shop() as served:
        own = served.url.removeprefix("http://").removesuffix("/mcp")
        assert (await post(served.url, INITIALIZE, host="evil.example"))[0] == 421
        assert (await post(served.url, INITIALIZE, host=f"evil.example:{own.split(':')[1]}"))[0] == 421
        assert (await post(served.url, INITIALIZE, origin="https://evil.example"))[0] == 403
        assert (await post(served.url, INITIALIZE, origin="http://localhost:3000"))[0] == 403
        assert (await post(served.url, INITIALIZE, origin=f"http://{own}"))[0] == 200


async def test_a_session_needs_its_own_id_and_to_be_initialised() -> None:
    listed = {"jsonrpc": "2.0", "id": 3, "method": "tools/list"}
    async with served_shop() as served:
        session = await open_session(served.url)
        assert (await post(served.url, listed))[0] == 400
        for guess in ("1", "session-0000001", session[:-1] + ("0" if session[-1] != "0" else "1"), "../" + session):
            status, body, _ = await post(served.url, listed, **{"mcp-session-id": guess})
            assert status == 404
            assert "Session not found" in body


async def test_a_stream_that_would_keep_an_idle_session_alive_is_refused() -> None:
    async with served_shop() as served:
        headers = HEADERS | {"mcp-session-id": await open_session(served.url)}
        async with aiohttp.ClientSession() as http, http.get(served.url, headers=headers) as response:
            assert (response.status, response.headers["allow"]) == (405, "POST, DELETE")
            assert "sends nothing" in (await response.json())["error"]["message"]


async def test_a_thousand_sessions_are_refused_without_harm_to_the_open_ones() -> None:
    async with served_shop(sessions=5) as served, Client(served.url) as client:
        await called(client, "delete_customer", customer_id=1)
        answers = [await post(served.url, INITIALIZE) for _ in range(1000)]
        refused = [body for status, body, _ in answers if status == 503]
        assert len(refused) == 996
        assert all("Too many open sessions" in body for body in refused)
        assert len({session for status, _, session in answers if status == 200}) == 4
        assert [row["name"] for row in await called(client, "list_customers")] == ["Bo", "Cy"]


async def test_an_idle_session_ends_and_makes_room() -> None:
    async with served_shop(sessions=1, idle_s=0.5) as served:
        async with Client(served.url) as client:
            await called(client, "delete_customer", customer_id=1)
            await served.has_closed.wait()
            with pytest.raises(MCPError):
                await client.call_tool("list_customers", {})
        async with Client(served.url) as client:
            assert await called(client, "list_customers") == CUSTOMERS


async def test_a_session_ends_its_calls_at_the_limit() -> None:
    async with served_shop(calls=3) as served, Client(served.url) as client:
        for _ in range(3):
            await called(client, "list_customers")
        result = await client.call_tool("list_customers", {})
        assert result.is_error
        assert "has made its 3 calls" in text(result)


async def test_a_revision_without_sessions_is_answered_with_those_that_have_them() -> None:
    async with served_shop() as served:
        async with Client(served.url, mode="2026-07-28") as client:
            with pytest.raises(MCPError, match="has no sessions"):
                await client.call_tool("list_customers", {})
        assert not served.closed
