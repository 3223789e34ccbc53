"""Figures 6 to 8: the domains of the databases, and what tools are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from wordcloud import WordCloud

from core.embeddings import Vectors
from core.figures import COLOURS, MARKERS
from evaluation.reports.tool_categories import OTHERS, shares

SEED = 0
SHOWN = 12
"""Categories with a colour and marker of their own in Figure 8."""
CLOUD_WIDTH, CLOUD_HEIGHT = 1800, 900
"""Pixels of the word cloud."""


def word_cloud(domains: Mapping[str, int]) -> Figure:
    """Figure 6: the names of the domains (name -> accepted dialogues), each as large as its share."""

    def colour(word: str, **unused: object) -> str:
        return COLOURS[sorted(domains).index(word) % len(COLOURS)]

    cloud = WordCloud(
        width=CLOUD_WIDTH,
        height=CLOUD_HEIGHT,
        background_color="white",
        color_func=colour,
        random_state=SEED,
        relative_scaling=1.0,
        prefer_horizontal=1.0,
    )
    cloud.generate_from_frequencies({name: max(count, 1) for name, count in domains.items()})
    figure = Figure(figsize=(8, 4))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(cloud.to_array(), interpolation="bilinear")
    axes.axis("off")
    return figure


def category_shares(labels: Mapping[str, Sequence[str]]) -> Figure:
    """Figure 7: for each source of tools (name -> the category of every tool) the shares of its categories."""
    found = {source: shares(of) for source, of in labels.items()}
    totals = {name for of in found.values() for name in of}
    order = sorted(totals, key=lambda name: (name != OTHERS, sum(of.get(name, 0.0) for of in found.values())))
    figure = Figure(figsize=(7, 0.6 + 0.24 * len(order)), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / len(found)
    for number, (source, of) in enumerate(found.items()):
        places = np.arange(len(order)) + 0.4 - height * (number + 0.5)
        label = f"{source} ({len(labels[source]):,} tools)"
        axes.barh(places, [100 * of.get(name, 0.0) for name in order], height, color=COLOURS[number], label=label)
    axes.set_yticks(range(len(order)), order)
    axes.set_xlabel("% of the tools")
    axes.legend(loc="center right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def tool_map(vectors: Mapping[str, Vectors], labels: Mapping[str, Sequence[str]]) -> Figure:
    """Figure 8: for each source of tools (name -> unit vectors [T, D], and the category of each) a map by t-SNE, once
    with all tools and once without OTHERS."""
    counts = shares([label for of in labels.values() for label in of])
    named = [name for name in counts if name != OTHERS][:SHOWN]
    figure = Figure(figsize=(9, 4.2 * len(vectors)), layout="constrained")
    panels = figure.subplots(len(vectors), 2, squeeze=False)
    for row, (source, of) in enumerate(vectors.items()):
        categories = np.array(labels[source])
        for column, (title, chosen) in enumerate(
            ((source, np.ones(len(of), bool)), (f"{source}, without “{OTHERS}”", categories != OTHERS))
        ):
            axes = panels[row, column]
            axes.set_title(f"{title} ({chosen.sum():,} tools)", fontsize=10)
            axes.set_xticks([])
            axes.set_yticks([])
            if chosen.sum() > 2:
                _scatter(axes, _positions(of[chosen]), categories[chosen], named)
    handles, texts = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    return figure


def _positions(vectors: Vectors) -> Vectors:
    """[T, 2]: t-SNE with the usual perplexity, or the largest that so few points allow."""
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    places: Vectors = TSNE(perplexity=perplexity, init="pca", random_state=SEED).fit_transform(vectors)
    return places


def _scatter(axes: Any, places: Vectors, categories: NDArray[Any], named: Sequence[str]) -> None:
    rest = ~np.isin(categories, named)
    axes.scatter(*places[rest].T, s=6, color="#bbbbbb", label="other categories", linewidths=0)
    for number, name in enumerate(named):
        chosen = categories == name
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number // len(COLOURS)]
        axes.scatter(*places[chosen].T, s=10, color=colour, marker=marker, label=name, linewidths=0)
