"""Everyone can read a page: with keys alone, with a screen reader, on a phone, in the dark, on paper."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import matplotlib.figure
import pytest
from selenium.webdriver import Keys

from core.figures import svg
from core.page.contents import Figure, Page
from core.page.page import write_page
from scripts.bench.browser import Browser
from tests.core.page.helpers.fake_pages import fake_page, fake_transcripts

AXE = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
VIEWS = ("", "#t=d9", "#t=d9&m=2", "#t=d9&c=d8", "#f.domain=gym&f.reason=rule+broken", "#t=unknown")


def page_with_figures() -> Page:
    page = fake_page(40)
    drawn = matplotlib.figure.Figure(figsize=(4, 3))
    axes = drawn.subplots()
    axes.plot([1, 2, 3], [1, 4, 2], "o-", label="trained")
    axes.legend()
    first = page.sections[0]
    figure = Figure(title="Scores", svg=svg(drawn), alt="Scores rise and fall.")
    return page.model_copy(
        update={"sections": (first.model_copy(update={"blocks": (*first.blocks, figure)}), *page.sections[1:])}
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, page_with_figures(), fake_transcripts(40))
    return path


@pytest.fixture
def page(browser: Browser, path: Path) -> Iterator[Browser]:
    browser.set_size(1280, 900)
    browser.set_media()
    browser.open(path)
    yield browser
    browser.set_media()
    assert browser.logged()[0] == []


def _style(page: Browser, selector: str, name: str) -> str:
    return page.run("return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]", selector, name)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Browser, path: Path, scheme: str) -> None:
    page.set_media(prefers_color_scheme=scheme)
    page.run(AXE)
    for view in VIEWS:
        page.go(view)
        page.run("for (const details of document.querySelectorAll('details')) details.open = true")
        assert _violations(page) == [], view
    page.press("?")
    assert _violations(page) == []
    page.press(Keys.ESCAPE)


def _violations(page: Browser) -> list[str]:
    script = """
    const done = arguments[0];
    axe.run(document, { resultTypes: ["violations"] }).then((found) => done(found.violations
      .filter((one) => ["serious", "critical"].includes(one.impact))
      .map((one) => `${one.id}: ${one.nodes[0].html.slice(0, 200)} ${one.nodes[0].failureSummary}`)), String);
    """
    return page.driver.execute_async_script(script)


def test_keys_alone_do_everything(page: Browser) -> None:
    page.press("j", "j")
    assert page.run("return shown.t") == "d1"
    page.press("k")
    assert page.run("return shown.t") == "d0"
    page.press("n", "n", "n")
    assert page.run("return document.activeElement.id") == "ui-m1-2"
    page.press("p")
    assert page.run("return document.activeElement.id") == "ui-m1-1"
    assert page.run("return location.hash") == "#t=d0&m=1"
    page.press("r")
    assert page.run("return [...document.querySelectorAll('.reasoning')].every((one) => one.open)")
    page.press("r")
    assert not page.run("return [...document.querySelectorAll('.reasoning')].some((one) => one.open)")
    page.press("/")
    assert page.run("return document.activeElement.id") == "ui-search"
    page.press("j")
    page.wait(lambda: page.run("return found.words") == "j")
    page.press(Keys.ESCAPE, Keys.ESCAPE)
    assert page.run("return [shown.q, document.activeElement.id]") == ["", ""]
    page.press("?")
    assert page.run("return document.getElementById('ui-help').open")
    page.press("j")
    assert page.run("return shown.t") == "d0"
    page.press(Keys.ESCAPE)
    assert not page.run("return document.getElementById('ui-help').open")


def test_arrows_move_in_the_list_and_cells_are_chosen_by_a_key(page: Browser) -> None:
    page.run("document.querySelector('#ui-list a').focus()")
    page.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert page.run("return [shown.t, document.activeElement.dataset.key]") == ["d1", "d1"]
    page.press(Keys.ARROW_UP)
    assert page.run("return shown.t") == "d0"
    page.run("document.querySelectorAll('.grid tbody tr')[1].querySelectorAll('a.cell')[1].focus()")
    page.press("c", Keys.TAB, "c")
    assert page.run("return location.hash") == "#t=d5&c=d6"


def test_everything_is_reached_by_tab_with_a_visible_focus(page: Browser) -> None:
    record = """
    window.reached = [];
    addEventListener("focusin", ({ target }) => {
      window.reached.push([target.className || target.id || target.tagName, getComputedStyle(target).outlineStyle]);
    });
    """
    page.press(Keys.TAB)
    assert page.run("return document.activeElement.className") == "skip"
    page.go("#t=d9")
    page.run("document.querySelector('.skip').focus()")
    page.run(record)
    page.press(Keys.TAB * 150)
    reached = dict(page.run("return window.reached"))
    assert "none" not in reached.values()
    wanted = {
        "skip",
        "A",
        "choose",
        "cell passed",
        "ui-search",
        "ui-facet-0",
        "anchor",
        "SUMMARY",
        "reasons",
        "compare",
        "parting",
    }
    assert wanted <= set(reached)


def test_single_keys_can_be_switched_off(page: Browser) -> None:
    page.press("?")
    page.click("#ui-single-keys")
    page.press(Keys.ESCAPE, "j")
    assert page.run("return shown.t") == ""


def test_dark_and_light_have_their_colours(page: Browser) -> None:
    page.set_media(prefers_color_scheme="light")
    light = [_style(page, "body", name) for name in ("backgroundColor", "color")]
    assert _style(page, "figure svg text", "fill") == light[1]
    page.set_media(prefers_color_scheme="dark")
    dark = [_style(page, "body", name) for name in ("backgroundColor", "color")]
    assert light[0] == "rgb(255, 255, 255)"
    assert dark[0] == "rgb(23, 24, 26)"
    assert _style(page, "figure svg text", "fill") == dark[1] != light[1]


def test_paper_shows_the_sections_and_the_open_transcript_with_reasoning(page: Browser) -> None:
    page.go("#t=d9")
    page.set_media("print", prefers_color_scheme="dark")
    for hidden in ("nav", ".finder", ".choose", ".anchor", ".buttons"):
        assert _style(page, hidden, "display") == "none"
    assert _style(page, "body", "backgroundColor") == "rgb(255, 255, 255)"
    for shown in (".tiles", "table.sortable", ".grid table", "figure svg", ".transcript h3", ".message.user .text"):
        assert page.run("return document.querySelector(arguments[0]).checkVisibility()", shown)
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert page.run("return [...document.querySelectorAll('.reasoning')].every((one) => one.open)")
    page.run("dispatchEvent(new Event('afterprint'))")
    assert not page.run("return [...document.querySelectorAll('.reasoning')].some((one) => one.open)")


def test_nothing_moves(page: Browser) -> None:
    moving = """
    return [...document.querySelectorAll("*")].filter((one) => {
      const style = getComputedStyle(one);
      return style.transitionDuration !== "0s" || style.animationName !== "none" || style.scrollBehavior !== "auto";
    }).length;
    """
    assert page.run(moving) == 0


@pytest.mark.parametrize("view", VIEWS)
def test_a_phone_needs_no_sideways_scrolling(page: Browser, path: Path, view: str) -> None:
    page.set_size(360, 740)
    page.open(path, view)
    assert page.run("return document.documentElement.scrollWidth") <= 360
    list_top, reader_top = page.run(
        "return ['ui-finder', 'ui-reader'].map((id) => document.getElementById(id).getBoundingClientRect().top)"
    )
    assert list_top < reader_top
    if "t=d9" in view:
        page.click(".back")
        assert page.run("return document.activeElement.dataset.key") == "d9"


def test_sections_stand_in_the_file_itself(path: Path) -> None:
    html = path.read_text(encoding="utf-8")
    before_data = html[: html.index("application/octet-stream")]
    for text in ("These dialogues are made up.", "<caption>Domains</caption>", "<svg aria-label=", "<noscript>"):
        assert text in before_data
