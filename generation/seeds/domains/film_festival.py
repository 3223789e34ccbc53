"""A film festival: directors, films, theaters, screenings, guests, seat reservations and award nominations."""

from __future__ import annotations

from generation.seeds.domains.domain import BundledDomain, TableRows
from generation.seeds.domains.draw import Draw

SCHEMA = """
CREATE TABLE directors (
    director_id INTEGER PRIMARY KEY,
    director_name TEXT NOT NULL,
    country TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE
);
CREATE TABLE films (
    film_id INTEGER PRIMARY KEY,
    film_title TEXT NOT NULL,
    director_id INTEGER NOT NULL REFERENCES directors (director_id),
    genre TEXT NOT NULL,
    runtime_minutes INTEGER NOT NULL CHECK (runtime_minutes > 0),
    production_budget REAL NOT NULL CHECK (production_budget >= 0),
    selection TEXT NOT NULL CHECK (selection IN ('competition', 'out of competition', 'retrospective'))
);
CREATE TABLE theaters (
    theater_id INTEGER PRIMARY KEY,
    theater_name TEXT NOT NULL,
    street_address TEXT NOT NULL,
    seats INTEGER NOT NULL CHECK (seats > 0)
);
CREATE TABLE screenings (
    screening_id INTEGER PRIMARY KEY,
    film_id INTEGER NOT NULL REFERENCES films (film_id),
    theater_id INTEGER NOT NULL REFERENCES theaters (theater_id),
    screening_date TEXT NOT NULL,
    start_time TEXT NOT NULL,
    ticket_price REAL NOT NULL CHECK (ticket_price >= 0),
    screening_status TEXT NOT NULL CHECK (screening_status IN ('open', 'full', 'cancelled'))
);
CREATE TABLE guests (
    guest_id INTEGER PRIMARY KEY,
    guest_name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    pass_type TEXT NOT NULL CHECK (pass_type IN ('day', 'weekend', 'full', 'press'))
);
CREATE TABLE reservations (
    reservation_id INTEGER PRIMARY KEY,
    screening_id INTEGER NOT NULL REFERENCES screenings (screening_id),
    guest_id INTEGER NOT NULL REFERENCES guests (guest_id),
    seats_reserved INTEGER NOT NULL CHECK (seats_reserved > 0),
    reserved_on TEXT NOT NULL,
    reservation_status TEXT NOT NULL CHECK (reservation_status IN ('held', 'confirmed', 'cancelled'))
);
CREATE TABLE awards (
    award_id INTEGER PRIMARY KEY,
    award_name TEXT NOT NULL,
    prize_money REAL NOT NULL CHECK (prize_money >= 0)
);
CREATE TABLE nominations (
    nomination_id INTEGER PRIMARY KEY,
    award_id INTEGER NOT NULL REFERENCES awards (award_id),
    film_id INTEGER NOT NULL REFERENCES films (film_id),
    jury_score REAL NOT NULL CHECK (jury_score BETWEEN 0 AND 10),
    outcome TEXT NOT NULL CHECK (outcome IN ('nominated', 'shortlisted', 'won')),
    UNIQUE (award_id, film_id)
);
"""

COUNTRIES = ("Italy", "South Korea", "Brazil", "Senegal", "Norway", "Argentina", "Iran", "Poland")
GENRES = ("drama", "documentary", "thriller", "animation", "comedy", "science fiction")
WORDS = ("Salt", "Glass", "Tomorrow's", "Forgotten", "Seven", "Hidden", "Paper", "Electric")
NOUNS = ("Mountains", "Letters", "Summer", "Rooms", "Station", "Mothers", "Echo", "Tides")
AWARDS = (
    "Golden Reel",
    "Best Debut",
    "Best Screenplay",
    "Best Photography",
    "Audience Prize",
    "Jury Prize",
    "Best Score",
)
HALLS = ("Rialto", "Odeon", "Lumiere", "Orpheum", "Astor", "Electric Palace", "Garden Cinema")


def rows(draw: Draw) -> TableRows:
    contenders = [(award, film) for award in range(1, len(AWARDS) + 1) for film in draw.some(range(1, 46), 5)]
    return {
        "directors": [(name, draw.pick(COUNTRIES), draw.mail(name)) for name in draw.people(30)],
        "films": [
            (
                title,
                draw.number(1, 30),
                draw.pick(GENRES),
                draw.number(72, 178),
                draw.amount(50_000, 9_000_000, 25_000),
                draw.pick(("competition", "out of competition", "retrospective"), (5, 3, 2)),
            )
            for title in draw.titles(45, WORDS, NOUNS)
        ],
        "theaters": [(name, draw.street(), draw.number(8, 60) * 10) for name in HALLS],
        "screenings": [
            (
                draw.number(1, 45),
                draw.number(1, len(HALLS)),
                draw.day("2025-09-04", "2025-09-14"),
                draw.time(10, 21),
                draw.amount(7, 18, 0.5),
                draw.pick(("open", "full", "cancelled"), (7, 2, 1)),
            )
            for _ in range(80)
        ],
        "guests": [
            (name, draw.mail(name), draw.pick(("day", "weekend", "full", "press"), (4, 3, 2, 1)))
            for name in draw.people(45)
        ],
        "reservations": [
            (
                draw.number(1, 80),
                draw.number(1, 45),
                draw.number(1, 4),
                draw.day("2025-07-15", "2025-09-03"),
                draw.pick(("held", "confirmed", "cancelled"), (3, 6, 1)),
            )
            for _ in range(110)
        ],
        "awards": [(name, draw.amount(2_000, 50_000, 1_000)) for name in AWARDS],
        "nominations": [
            (*pair, draw.amount(4, 9.8, 0.1), draw.pick(("nominated", "shortlisted")) if number % 5 else "won")
            for number, pair in enumerate(contenders)
        ],
    }


DOMAIN = BundledDomain(
    "It runs a film festival and keeps records of directors, films, screenings, guests, reservations and awards.",
    SCHEMA,
    rows,
)
