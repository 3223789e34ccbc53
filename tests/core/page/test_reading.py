"""What a reader does with a page: filter, search, open, go back, follow branches, compare."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.support.ui import Select

from core.page.contents import Transcript
from core.page.page import write_page
from scripts.bench.browser import Browser
from tests.core.page.helpers.fake_pages import fake_page, fake_transcripts

TRANSCRIPTS = tuple(fake_transcripts(230))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, fake_page(len(TRANSCRIPTS)), TRANSCRIPTS)
    return path


@pytest.fixture
def page(browser: Browser, path: Path) -> Iterator[Browser]:
    """The page, newly loaded. At the end its console must be empty and no request may have left it."""
    browser.set_size(1280, 900)
    browser.open(path)
    yield browser
    errors, requests = browser.logged()
    assert errors == []
    assert {request.split("#")[0] for request in requests} == {path.as_uri()}
    assert browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)") == []


def _listed(page: Browser) -> list[str]:
    return page.run("return [...document.querySelectorAll('#ui-list a')].map((link) => link.dataset.key)")


def _status(page: Browser) -> str:
    return page.texts("#ui-status")[0]


def _open(page: Browser) -> str:
    return page.run("return document.querySelector('.transcript')?.dataset.key")


def _keys(**facets: str) -> list[str]:
    return [one.key for one in TRANSCRIPTS if all(value in one.facets[name] for name, value in facets.items())]


def test_list_has_pages_of_a_hundred(page: Browser) -> None:
    assert _listed(page) == [f"d{number}" for number in range(100)]
    page.click("#ui-pager button:last-child")
    page.click("#ui-pager button:last-child")
    assert _listed(page) == [f"d{number}" for number in range(200, 230)]
    assert _status(page) == "230 of 230 transcripts"


def test_filters_narrow_the_list_and_each_other_and_stand_in_the_address(page: Browser, path: Path) -> None:
    Select(page.find("[data-facet=domain]")).select_by_visible_text("gym (58)")
    page.settle()
    assert _status(page) == "58 of 230 transcripts"
    options = page.texts("[data-facet=difficulty] option")
    assert options == [
        "any",
        *(f"{level} ({len(_keys(domain='gym', difficulty=level))})" for level in ("easy", "hard", "medium")),
    ]
    Select(page.find("[data-facet=difficulty]")).select_by_index(1)
    page.settle()
    assert _listed(page) == _keys(domain="gym", difficulty="easy")
    address = page.run("return location.hash")
    page.open(path, address)
    assert _listed(page) == _keys(domain="gym", difficulty="easy")
    page.click("#ui-chips button")
    assert _listed(page) == _keys(difficulty="easy")
    page.driver.back()
    page.settle()
    assert _listed(page) == _keys(domain="gym", difficulty="easy")


def test_rows_and_tiles_lead_to_their_transcripts(page: Browser) -> None:
    page.click("table.sortable tbody tr:nth-child(3) a")
    assert _listed(page) == _keys(domain="airline")
    page.click(".tiles a")
    assert _listed(page) == [one.key for one in TRANSCRIPTS if one.reason == "rule broken"]
    assert page.texts("#ui-chips button") == ["reason: rule broken ✕"]


def test_search_reads_every_text(page: Browser) -> None:
    wanted = TRANSCRIPTS[217]
    message = next(message for message in wanted.messages if message.calls)
    for words in (wanted.messages[3].content, message.calls[0].result, message.reasoning.upper(), wanted.title[5:]):
        field = page.find("#ui-search")
        field.clear()
        field.send_keys(str(words))
        page.wait(lambda sought=words: page.run("return found.words") == sought)
        page.settle()
        assert _listed(page) == ["d217"]
    page.press("/", Keys.ESCAPE)
    assert len(_listed(page)) == 100


def test_permalinks_lead_to_a_message_and_back_works(page: Browser, path: Path) -> None:
    page.open(path, "#t=d120&m=4")
    assert _open(page) == "d120"
    assert page.run("return document.activeElement.id") == "ui-m1-4"
    top = page.run("return document.activeElement.getBoundingClientRect().top")
    assert 0 <= top < 200
    assert _listed(page)[0] == "d100"
    page.click("#ui-list li:first-child a")
    assert (_open(page), page.run("return location.hash")) == ("d100", "#t=d100")
    page.click("#ui-m1-6 .anchor")
    assert page.run("return location.hash") == "#t=d100&m=6"
    page.driver.back()
    page.driver.back()
    page.settle()
    assert page.run("return document.activeElement.id") == "ui-m1-4"
    page.driver.forward()
    page.settle()
    assert _open(page) == "d100"


def test_transcript_shows_all_of_its_messages_and_findings(page: Browser) -> None:
    transcript = TRANSCRIPTS[5]
    page.go("#t=d5")
    contents = page.texts(".message > .long > .text")
    assert contents == [message.content for message in transcript.messages if message.content]
    assert page.texts(".message > .reasoning > .text") == [
        one.reasoning for one in transcript.messages if one.reasoning
    ]
    calls = [call for message in transcript.messages for call in message.calls]
    assert page.texts(".asked .long .text") == [call.arguments for call in calls]
    assert page.texts(".answered .long .text") == [call.result for call in calls]
    expected = page.texts(".expected li")
    assert expected == ['get_member({"member_id": 3}) ✓ met at #2', "rename_member() ✗ not met", "Zoë ✓ met at #4"]
    page.click(".expected a")
    assert page.run("return document.activeElement.id") == "ui-m1-2"
    assert page.texts("#ui-m1-2 .mark") == ["gold call (task 0) get_member"]
    assert page.texts(".changes li") == list(transcript.changes)


def test_json_is_indented_on_demand_with_its_tokens_as_written(page: Browser) -> None:
    page.go("#t=d5")
    written = page.texts(".asked .long .text")[0]
    page.click(".asked .indent")
    assert page.texts(".asked .long .text")[0].splitlines()[0] == "{"
    page.click(".asked .indent")
    assert page.texts(".asked .long .text")[0] == written
    indented = page.run(
        "return indentJson(arguments[0])", '{"n":12345678901234567890, "a":[],"s":"{\\"}", "n":[1.0,{ }]}'
    )
    assert (
        indented == '{\n  "n": 12345678901234567890,\n  "a": [],\n  "s": "{\\"}",\n  "n": [\n    1.0,\n    {}\n  ]\n}'
    )


def test_branches_form_a_tree_with_links_to_where_they_part(page: Browser) -> None:
    page.go("#t=d8")
    assert page.texts(".tree strong .text") == [TRANSCRIPTS[8].title]
    page.click(".tree a.parting")
    assert (_open(page), page.run("return document.activeElement.id")) == ("d9", "ui-m1-10")
    page.click(".tree a.compare")
    assert page.run("return document.querySelector('.comparison').dataset.other") == "d8"
    assert page.texts(".shared > summary") == ["10 shared messages"]
    assert page.texts(".comparison > header .parting") == ["Go to where they part (#10)"]
    assert page.run("return [...document.querySelectorAll('.parts')].map((card) => card.id)") == [
        "ui-m1-10",
        "ui-m2-10",
    ]
    page.run("document.querySelectorAll('.side > details')[1].open = true")
    page.click(".side:nth-child(2) .expected a")
    assert page.run("return document.activeElement.id") == "ui-m1-2"
    assert page.run("return document.querySelector('.shared').open")
    page.press(Keys.ESCAPE)
    assert page.run("return document.querySelector('.comparison')") is None
    assert _open(page) == "d9"


def test_two_models_are_compared_from_the_grid(page: Browser) -> None:
    cells = ".grid tbody tr:nth-child(2) a.cell"
    page.click(cells, 1)
    assert _open(page) == "d5"
    page.click(".grid .choose")
    page.click(cells)
    assert "choose another trial of this row" in page.texts(".grid .status")[0]
    page.click(cells, 3)
    assert page.run("return location.hash") == "#t=d4&c=d7"
    assert page.texts(".sides h4") == [TRANSCRIPTS[4].title, TRANSCRIPTS[7].title]
    shared = _shared(TRANSCRIPTS[4], TRANSCRIPTS[7])
    assert page.texts(".comparison > header .parting") == [f"Go to where they part (#{shared})"]
    ActionChains(page.driver).key_down(Keys.SHIFT).perform()
    page.click(cells, 1)
    page.click(cells, 2)
    ActionChains(page.driver).key_up(Keys.SHIFT).perform()
    assert page.run("return location.hash") == "#t=d5&c=d6"
    assert len(page.driver.window_handles) == 1


def _shared(one: Transcript, other: Transcript) -> int:
    pairs = zip(one.messages, other.messages, strict=True)
    return next(index for index, (left, right) in enumerate(pairs) if left != right)


def test_tables_are_sorted_by_a_click(page: Browser) -> None:
    cells = "table.sortable tbody td:first-child"
    headers = "table.sortable th button"
    written = page.texts(cells)
    page.click(headers, 1)
    assert page.texts(cells) == written
    page.click(headers, 1)
    assert page.texts(cells) == written[::-1]
    page.click(headers)
    assert page.texts(cells) == sorted(written)
    assert page.run("return document.querySelector('table.sortable th').ariaSort") == "ascending"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12.5 % [10, 14]", 12.5),
        ("−3", -3),
        ("1,234,567", 1234567),
        ("3, 4", 3),
        (".5", 0.5),
        ("2e-05", 2e-5),
        ("–", None),
    ],
)
def test_cells_are_sorted_by_their_first_number(page: Browser, text: str, number: float | None) -> None:
    assert page.run("return numberIn(arguments[0])", text) == number


def test_unknown_keys_are_named(page: Browser) -> None:
    page.go("#t=unknown")
    assert page.texts("#ui-reader") == ["There is no transcript unknown in this page."]
