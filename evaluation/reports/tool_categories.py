"""What tools are about: each gets the category whose description is nearest to its own, by sentence embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.embeddings import Vectors

OTHERS = "others"
CATEGORIES = {
    "travel": "flights, trains, car rental, hotels and trips",
    "food": "restaurants, recipes, groceries and nutrition",
    "finance": "banking, stocks, currencies, loans, taxes and insurance",
    "shopping": "online shops, products, orders, carts and prices",
    "weather": "weather forecasts, temperature, climate and air quality",
    "health": "doctors, patients, medicine, fitness and the body",
    "sports": "sports teams, matches, players and leagues",
    "music and film": "songs, movies, television series, artists and streaming",
    "games": "video games, cards, dice and puzzles",
    "books and news": "books, authors, libraries, articles and news",
    "education": "schools, students, courses, grades and languages",
    "mathematics": "arithmetic, algebra, geometry, statistics and numbers",
    "science": "physics, chemistry, biology and astronomy",
    "history and law": "historical events, laws, court cases and government",
    "maps": "maps, distances, routes, addresses, cities and countries",
    "messages": "e-mail, chat messages, contacts, calendars and reminders",
    "social media": "posts, followers, profiles, hashtags and comments",
    "files": "files, folders, documents and the operating system",
    "software": "programming, code, user interfaces, events and web servers",
    "data": "databases, queries, tables, machine learning and data analysis",
    "home": "real estate, rent, smart home devices and household",
    "vehicles": "cars, engines, fuel, parking and driving",
    "events": "tickets, concerts, museums and bookings of events",
    "animals and plants": "pets, animals, farming, gardens and the environment",
    "business": "companies, employees, customers, projects and marketing",
    "memory": "notes that an assistant keeps and searches for later",
}
"""Category -> the description that is embedded. The paper has categories of its own, which it does not list."""


def categorise(tools: Vectors, categories: Vectors, names: Sequence[str], least: float) -> list[str]:
    """The nearest category of each tool; OTHERS if even its cosine similarity is below `least`. `tools` and
    `categories` are unit vectors [T, D] and [C, D], `names` the C names of the categories."""
    similarities = tools @ categories.T
    nearest = similarities.argmax(axis=1)
    enough = similarities.max(axis=1) >= least
    return [names[index] if near else OTHERS for index, near in zip(nearest, enough, strict=True)]


def shares(labels: Sequence[str]) -> dict[str, float]:
    """The share of each category that occurs, the largest first, OTHERS last."""
    names, counts = np.unique(np.array(labels), return_counts=True)
    found = dict(zip(names.tolist(), (counts / len(labels)).tolist(), strict=True))
    return dict(sorted(found.items(), key=lambda item: (item[0] == OTHERS, -item[1], item[0])))
