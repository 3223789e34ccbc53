"""The check of the servers that a generation's models use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.settings import UserError
from generation.llm.server_checks import check_servers
from tests.core.helpers.chat_servers import ChatServer, answering, called, said

HERMES = said('<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>')
WORDS = said("A library lends books.")


@pytest.fixture
def unparsed() -> Iterator[ChatServer]:
    """A server that leaves calls in the text."""
    with answering(ChatServer(HERMES, WORDS)) as server:
        yield server


def test_calls_in_the_text_are_a_warning_because_the_client_reads_them(unparsed: ChatServer) -> None:
    client = {"base_urls": [unparsed.url], "sampling": {"temperature": 1.0}, "extra_body": {"reasoning_effort": "low"}}
    (warning,) = check_servers(client)
    assert warning.startswith(f"tested at {unparsed.url}: the server left the tool call in the text")
    assert {(sent["temperature"], sent["reasoning_effort"]) for sent in unparsed.seen} == {(1.0, "low")}


def test_servers_of_wrapped_models_and_of_roles_are_asked_once_each(unparsed: ChatServer) -> None:
    with answering(ChatServer(called(), said(None, "Only thoughts."))) as swallowing:
        first, second = {"base_urls": [unparsed.url]}, {"base_urls": [swallowing.url]}
        with pytest.raises(UserError, match="takes the whole answer for reasoning"):
            check_servers({"inner": first, "roles": {"user": first, "judge": second}})
    assert len(unparsed.seen) == 2


def test_models_without_servers_and_servers_that_are_down_are_skipped(unparsed: ChatServer) -> None:
    with answering(ChatServer(called(), WORDS)) as closed:
        pass
    assert check_servers({"_target_": "scripted", "seed": 0}) == ()
    assert check_servers({"base_urls": [closed.url]}) == ()
    assert check_servers({"base_urls": "http://x/v1"}) == (), "the client refuses it"
