"""Any text in any field is shown as it is: none becomes markup, an address or a script, and none is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from core.page.contents import (
    Branch,
    CallView,
    Cell,
    CheckView,
    Expected,
    Figure,
    Grid,
    GridRow,
    Mark,
    MessageView,
    Notice,
    Page,
    Row,
    Section,
    Table,
    TaskView,
    Tile,
    Tiles,
    Transcript,
)
from core.page.page import SCRIPTS, write_page
from scripts.bench.browser import Browser

HERE = Path(__file__).parents[3] / "core" / "page"
DRAWING = '<svg role="img" viewBox="0 0 1 1"><path d="M0 0"/></svg>'
ATTACKS = (
    "</script><script>window.attacked = 1</script>",
    "<img src=x onerror='window.attacked = 1'>",
    '"><svg onload="window.attacked = 1"><a href="javascript:window.attacked = 1">',
    "<!-- <script> ]]> <![CDATA[ </style></title></textarea> -->",
    "{{ 7 * 7 }} {% raw %} ${window.attacked = 1} `",
    "a\u2028b\u2029c\x00d\x85e\ufffef\r\ng\rh\n",
    "\ud800 and \udc00 alone",
    "\u202eright to left\u2066 never closed",
    "https://example.org/?a=1&amp;b=2#c=%3Cscript%3E%zz",
    "__proto__",
    "constructor",
    "  blanks \t around ",
)
NASTY = st.sampled_from("<>&\"'\\/{}%#=+\0\r\n\t\u2028\u202e\ud800\udfff\ufeff é😀") | st.characters()
TEXTS = st.sampled_from(ATTACKS) | st.text(NASTY, min_size=1, max_size=30)


def contents(texts: list[str]) -> tuple[Page, Transcript, list[str]]:
    """A page and a transcript with another text in each field, and the texts that stand in the sections."""
    rest = iter(texts)

    def text() -> str:
        return next(rest)

    blocks = (
        Notice(level="error", text=text()),
        Tiles(
            tiles=(
                Tile(label=text(), value=text(), detail=text(), filter={text(): text()}),
                Tile(label=text(), value=text()),
            )
        ),
        Table(
            title=text(),
            columns=(text(),),
            rows=(Row(cells=(text(),)), Row(cells=(text(),), filter={text(): text()})),
            note=text(),
        ),
        Figure(title=text(), svg=DRAWING, alt=text(), note=text()),
        Grid(
            title=text(),
            models=(text(),),
            rows=(GridRow(task=text(), cells=((Cell(outcome="passed"),),)),),
            note=text(),
        ),
    )
    section = Section(key="first", title=text(), blocks=blocks)
    page = Page(title=text(), about=text(), lineage=((text(), text()),), sections=(section,), transcripts_note=text())
    in_sections = texts[: len(texts) - len(list(rest))]
    rest = iter(texts[len(in_sections) :])
    mark = Mark(kind="fault", text=text(), task=0)
    call = CallView(name=text(), arguments=text(), result=text(), marks=(mark,))
    checks = (CheckView(name=text(), passed=False, detail=text()),)
    task = TaskView(
        goal=text(),
        facts=((text(), text()),),
        gold_calls=(Expected(text=text(), met_at=7),),
        told_values=(Expected(text=text()),),
        checks=checks,
        judgment=text(),
        judge_reasoning=text(),
    )
    transcript = Transcript(
        key="hostile",
        title=text(),
        outcome="error",
        reason=text(),
        tasks=(task,),
        checks=checks,
        changes=(text(),),
        messages=(MessageView(index=7, role="user", content=text(), reasoning=text(), calls=(call,), marks=(mark,)),),
        text=text(),
    )
    return page, transcript, in_sections


def test_every_text_of_a_message_a_call_and_a_task_is_filled_in() -> None:
    page, transcript, _ = contents([f"text {number}" for number in range(60)])
    missing = [name for name, value in _strings(page) + _strings(transcript) if value == ""]
    # The second tile has no detail; grids and figures have their own tests.
    assert missing == ["detail", "transcript", "same_task"]


def _strings(model: BaseModel) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    def walk(name: str, value: object) -> None:
        if isinstance(value, str):
            found.append((name, value))
        elif isinstance(value, dict):
            for key, item in value.items():
                walk(key, item)
        elif isinstance(value, (tuple, list)):
            for item in value:
                walk(name, item)

    walk("", model.model_dump())
    return found


def _shown(browser: Browser) -> set[str]:
    """The text of every element. JSON keeps lone surrogates, which the driver would replace."""
    script = "return JSON.stringify([...document.querySelectorAll('body *:not(script)')].map((e) => e.textContent))"
    return set(json.loads(browser.run(script)))


def _as_read(text: str) -> str:
    """Surrogates that stand in pairs are one character to a browser."""
    return str(json.loads(json.dumps(text)))


def _as_html(text: str) -> str:
    """No HTML can hold these; all else it can."""
    return "".join("\ufffd" if sign == "\0" or "\ud800" <= sign <= "\udfff" else sign for sign in _as_read(text))


def check(browser: Browser, folder: Path, texts: list[str]) -> None:
    path = folder / "page.html"
    page, transcript, in_sections = contents(texts)
    write_page(path, page, [transcript])
    browser.open(path, "#t=hostile")
    shown = _shown(browser)
    figure = page.sections[0].blocks[3]
    assert isinstance(figure, Figure)
    elsewhere = {figure.alt, *(text for block in page.sections[0].blocks for text in _filter_texts(block))}
    assert [text for text in in_sections if _as_html(text) not in shown and text not in elsewhere] == []
    fixed = {"key", "outcome", "role", "kind"}
    texts_of_transcript = [text for name, text in _strings(transcript) if text and name not in fixed]
    assert [text for text in texts_of_transcript if _as_read(text) not in shown] == []
    label = "return JSON.stringify(document.querySelector('figure svg').getAttribute('aria-label'))"
    assert json.loads(browser.run(label)) == _as_html(figure.alt)
    assert browser.run("return window.attacked") is None
    kinds = browser.run("return [...document.querySelectorAll('script')].map((script) => script.type)")
    assert kinds == ["application/octet-stream"] * 2 + [""]
    assert (
        browser.all("img, iframe, object, embed, form, link:not([rel=icon]), [onerror], [onload], a:not([href^='#'])")
        == []
    )
    errors, requests = browser.logged()
    assert errors == []
    assert {request.split("#")[0] for request in requests} == {path.as_uri()}


def _filter_texts(block: object) -> set[str]:
    if isinstance(block, Tiles):
        filters = [tile.filter for tile in block.tiles]
    elif isinstance(block, Table):
        filters = [row.filter for row in block.rows]
    else:
        return set()
    return {text for chosen in filters for pair in chosen.items() for text in pair}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_in_every_field_is_only_text(browser: Browser, tmp_path: Path, attack: str) -> None:
    check(browser, tmp_path, [f"{attack}{number}" if number % 2 else f"{number}{attack}" for number in range(60)])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(TEXTS, min_size=60, max_size=60, unique=True))
def test_any_text_in_any_field_is_shown_as_it_is(browser: Browser, tmp_path: Path, texts: list[str]) -> None:
    check(browser, tmp_path, texts)


def test_attacks_as_keys_and_facets_can_be_opened_and_filtered(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    transcripts: list[Transcript] = []
    for number, attack in enumerate(ATTACKS):
        own = {"outcome": "passed", "same_task": attack}
        transcripts += [
            Transcript(key=attack, title=f"one {number}", facets={attack: (attack,)}, **own),
            Transcript(key=f"{number}", title=f"fork {number}", branch=Branch(parent=attack, shared=0), **own),
        ]
    cells = tuple(((Cell(outcome="passed", transcript=attack),),) for attack in ATTACKS)
    grid = Grid(title="grid", models=("m",), rows=tuple(GridRow(task="t", cells=cell) for cell in cells))
    tiles = Tiles(tiles=tuple(Tile(label="all", value="1", filter={attack: attack}) for attack in ATTACKS))
    write_page(path, Page(title="page", sections=(Section(key="s", title="s", blocks=(tiles, grid)),)), transcripts)
    browser.open(path)
    for number in range(len(ATTACKS)):
        browser.click(".tiles a", number)
        assert browser.texts("#ui-list .title") == [f"one {number}"]
        browser.click(".grid a.cell", number)
        assert browser.texts(".transcript h3") == [f"one {number}"]
        browser.click(".tree a.compare")
        assert browser.texts(".sides h4") == [f"one {number}", f"fork {number}"]
    assert browser.logged()[0] == []


@pytest.mark.parametrize(
    "line",
    ["x" * 99 + "\n", "x" * 99 + " ", "<b>\u202e" * 25, "😀" * 50],
    ids=["lines", "words", "right to left", "pairs"],
)
def test_a_long_result_is_folded_and_shown_whole_on_demand(browser: Browser, tmp_path: Path, line: str) -> None:
    result = line * (1_000_000 // len(line))
    path = tmp_path / "page.html"
    call = CallView(name="dump", arguments="{}", result=result)
    write_page(
        path,
        Page(title="page"),
        [
            Transcript(
                key="long",
                title="long",
                outcome="passed",
                messages=(MessageView(index=1, role="assistant", calls=(call,)),),
            )
        ],
    )
    browser.open(path, "#t=long")
    beginning = browser.texts(".answered .long .text")[0]
    assert result.startswith(beginning)
    assert len(beginning) <= 4000
    assert beginning.count("\n") < 20
    browser.click(".answered .unfold")
    assert browser.texts(".answered .long .text") == [result]
    browser.click(".answered .unfold")
    assert browser.texts(".answered .long .text") == [beginning]


def test_directions_of_writing_end_with_their_text(browser: Browser, tmp_path: Path) -> None:
    check(browser, tmp_path, [f"\u202eabc{number}" for number in range(60)])
    directions = "return [...document.querySelectorAll('.text')].map((one) => getComputedStyle(one).unicodeBidi)"
    assert set(browser.run(directions)) == {"isolate", "plaintext"}


def test_code_and_style_cannot_close_their_element_and_never_parse_markup() -> None:
    for name in (*SCRIPTS, "style.css"):
        code = (HERE / name).read_text()
        assert "</" not in code
        for parser in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "DOMParser",
            "fetch(",
        ):
            assert parser not in code, name
    assert sorted(SCRIPTS) == sorted(path.name for path in HERE.glob("*.js"))
