"""A museum: galleries, artists, artworks, exhibitions and guided tours."""

from __future__ import annotations

from generation.seeds.domains.domain import BundledDomain, TableRows
from generation.seeds.domains.draw import FIRST_DAY, Draw

SCHEMA = """
CREATE TABLE galleries (
    gallery_id INTEGER PRIMARY KEY,
    gallery_name TEXT NOT NULL,
    floor INTEGER NOT NULL,
    visitor_capacity INTEGER NOT NULL CHECK (visitor_capacity > 0)
);
CREATE TABLE artists (
    artist_id INTEGER PRIMARY KEY,
    artist_name TEXT NOT NULL,
    nationality TEXT NOT NULL,
    birth_year INTEGER NOT NULL
);
CREATE TABLE artworks (
    artwork_id INTEGER PRIMARY KEY,
    title TEXT NOT NULL,
    artist_id INTEGER NOT NULL REFERENCES artists (artist_id),
    gallery_id INTEGER REFERENCES galleries (gallery_id),
    medium TEXT NOT NULL,
    creation_year INTEGER NOT NULL,
    insured_value REAL NOT NULL CHECK (insured_value >= 0),
    artwork_status TEXT NOT NULL CHECK (artwork_status IN ('on display', 'in storage', 'on loan', 'in restoration'))
);
CREATE TABLE exhibitions (
    exhibition_id INTEGER PRIMARY KEY,
    exhibition_name TEXT NOT NULL,
    opens_on TEXT NOT NULL,
    closes_on TEXT NOT NULL,
    ticket_price REAL NOT NULL CHECK (ticket_price >= 0)
);
CREATE TABLE exhibits (
    exhibit_id INTEGER PRIMARY KEY,
    exhibition_id INTEGER NOT NULL REFERENCES exhibitions (exhibition_id),
    artwork_id INTEGER NOT NULL REFERENCES artworks (artwork_id),
    wall_position INTEGER NOT NULL,
    UNIQUE (exhibition_id, artwork_id)
);
CREATE TABLE tours (
    tour_id INTEGER PRIMARY KEY,
    exhibition_id INTEGER NOT NULL REFERENCES exhibitions (exhibition_id),
    guide_name TEXT NOT NULL,
    tour_date TEXT NOT NULL,
    start_time TEXT NOT NULL,
    language TEXT NOT NULL,
    places INTEGER NOT NULL CHECK (places > 0)
);
CREATE TABLE tour_bookings (
    tour_booking_id INTEGER PRIMARY KEY,
    tour_id INTEGER NOT NULL REFERENCES tours (tour_id),
    visitor_name TEXT NOT NULL,
    email TEXT NOT NULL,
    group_size INTEGER NOT NULL CHECK (group_size > 0),
    booking_status TEXT NOT NULL CHECK (booking_status IN ('confirmed', 'pending', 'cancelled'))
);
"""

GALLERIES = (
    "East Wing",
    "West Wing",
    "Sculpture Hall",
    "Print Room",
    "Skylight Gallery",
    "Vault Gallery",
    "Garden Court",
)
NATIONALITIES = ("American", "French", "Dutch", "Japanese", "Mexican", "Ghanaian", "Spanish")
MOODS = ("Blue", "Quiet", "Burning", "Distant", "Golden", "Broken", "Winter", "Restless", "Pale")
THINGS = (
    "Harbor",
    "Portrait",
    "Field",
    "Interior",
    "Procession",
    "Still Life",
    "Window",
    "Dancers",
    "Horizon",
    "Market",
)
MEDIA = ("oil on canvas", "watercolor", "bronze", "woodcut", "photograph", "marble", "charcoal")
THEMES = ("Voices of", "Light and", "Beyond", "The Art of", "Rethinking")
TOPICS = ("the Sea", "Memory", "Paper", "the City", "Color", "Stone")


def rows(draw: Draw) -> TableRows:
    opening = [draw.day(FIRST_DAY, "2025-08-31") for _ in range(12)]
    shown = [(exhibition, artwork) for exhibition in range(1, 13) for artwork in draw.some(range(1, 81), 5)]
    toured = [draw.number(1, 12) for _ in range(36)]
    return {
        "galleries": [(name, draw.number(0, 3), draw.number(20, 150)) for name in GALLERIES],
        "artists": [(name, draw.pick(NATIONALITIES), draw.number(1925, 1970)) for name in draw.people(26)],
        "artworks": [
            (
                title,
                draw.number(1, 26),
                draw.number(1, len(GALLERIES)) if status == "on display" else None,
                draw.pick(MEDIA),
                draw.number(1992, 2023),
                draw.amount(2_000, 900_000, 500),
                status,
            )
            for title in draw.titles(80, MOODS, THINGS)
            for status in [draw.pick(("on display", "in storage", "on loan", "in restoration"), (6, 2, 1, 1))]
        ],
        "exhibitions": [
            (title, day, draw.after(day, 40, 110), draw.amount(8, 24, 0.5))
            for title, day in zip(draw.titles(12, THEMES, TOPICS), opening, strict=True)
        ],
        "exhibits": [(*pair, 1 + number % 5) for number, pair in enumerate(shown)],
        "tours": [
            (
                exhibition,
                guide,
                draw.after(opening[exhibition - 1], 1, 40),
                draw.time(10, 16),
                draw.pick(("English", "Spanish", "French", "German"), (5, 2, 1, 1)),
                draw.number(8, 20),
            )
            for exhibition, guide in zip(toured, draw.people(9) * 4, strict=True)
        ],
        "tour_bookings": [
            (
                draw.number(1, 36),
                name,
                draw.mail(name),
                draw.number(1, 6),
                draw.pick(("confirmed", "pending", "cancelled"), (6, 2, 1)),
            )
            for name in draw.people(90)
        ],
    }


DOMAIN = BundledDomain(
    "It is a museum and keeps records of galleries, artists, artworks, exhibitions and guided tours.",
    SCHEMA,
    rows,
)
