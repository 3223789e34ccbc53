"""Figures as SVG for a page."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import matplotlib.figure

from core.figures import svg


def drawn(points: tuple[int, ...] = (1, 4, 2)) -> Any:
    figure = matplotlib.figure.Figure(figsize=(4, 3))
    axes = figure.subplots()
    axes.plot(range(len(points)), points, "o-", color="#000000", label="a < b & c")
    axes.fill_between(range(len(points)), points, hatch="//")
    axes.set_title("Scores")
    axes.legend()
    return figure


def test_the_same_figure_gives_the_same_bytes_without_a_date() -> None:
    assert svg(drawn()) == svg(drawn())
    assert "<metadata" not in svg(drawn())
    assert re.search(r"\d{4}-\d\d-\d\d", svg(drawn())) is None


def test_it_is_one_element_with_text_as_text_in_the_colour_of_the_page() -> None:
    text = svg(drawn())
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("role") == "img"
    assert {"Scores", "a < b & c"} <= {node.text for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert root.get("fill") == "currentColor"
    assert "stroke: currentColor" in text
    assert "#000000" not in text
    assert "#ffffff" not in text
    assert "<style" not in text


def test_references_resolve_and_ids_of_two_figures_differ() -> None:
    ids = []
    for points in ((1, 4, 2), (1, 4, 3)):
        text = svg(drawn(points))
        own = re.findall(r' id="([^"]+)"', text)
        assert len(own) == len(set(own))
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) == set(own) != set()
        ids.append(set(own))
    assert ids[0].isdisjoint(ids[1])
