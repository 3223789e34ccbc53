"""A ticket office for concerts and shows: venues, performers, events, ticket tiers and orders."""

from __future__ import annotations

from generation.seeds.domains.domain import BundledDomain, TableRows
from generation.seeds.domains.draw import FIRST_DAY, LAST_DAY, TODAY, Draw

SCHEMA = """
CREATE TABLE venues (
    venue_id INTEGER PRIMARY KEY,
    venue_name TEXT NOT NULL,
    city TEXT NOT NULL,
    capacity INTEGER NOT NULL CHECK (capacity > 0)
);
CREATE TABLE performers (
    performer_id INTEGER PRIMARY KEY,
    performer_name TEXT NOT NULL,
    genre TEXT NOT NULL,
    manager_email TEXT NOT NULL,
    appearance_fee REAL NOT NULL CHECK (appearance_fee >= 0)
);
CREATE TABLE events (
    event_id INTEGER PRIMARY KEY,
    event_title TEXT NOT NULL,
    venue_id INTEGER NOT NULL REFERENCES venues (venue_id),
    performer_id INTEGER NOT NULL REFERENCES performers (performer_id),
    event_date TEXT NOT NULL,
    doors_open TEXT NOT NULL,
    event_status TEXT NOT NULL CHECK (event_status IN ('on sale', 'sold out', 'postponed', 'cancelled', 'past'))
);
CREATE TABLE ticket_tiers (
    ticket_tier_id INTEGER PRIMARY KEY,
    event_id INTEGER NOT NULL REFERENCES events (event_id),
    tier_name TEXT NOT NULL CHECK (tier_name IN ('standing', 'seated', 'balcony', 'vip')),
    price REAL NOT NULL CHECK (price > 0),
    seats_left INTEGER NOT NULL CHECK (seats_left >= 0)
);
CREATE TABLE customers (
    customer_id INTEGER PRIMARY KEY,
    customer_name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    phone TEXT NOT NULL
);
CREATE TABLE ticket_orders (
    ticket_order_id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (customer_id),
    ticket_tier_id INTEGER NOT NULL REFERENCES ticket_tiers (ticket_tier_id),
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    ordered_on TEXT NOT NULL,
    order_status TEXT NOT NULL CHECK (order_status IN ('paid', 'pending', 'refunded'))
);
"""

HALLS = ("Arena", "Theater", "Opera House", "Music Hall", "Pavilion")
COLORS = ("Velvet", "Crimson", "Electric", "Hollow", "Northern", "Midnight", "Paper")
ANIMALS = ("Foxes", "Sparrows", "Engines", "Rivers", "Lanterns", "Wolves", "Parade")
GENRES = ("rock", "jazz", "folk", "comedy", "classical", "electronic")
TOURS = ("Farewell", "Summer", "Unplugged", "Anniversary", "Homecoming", "Late Night", "Open Air")
SHOWS = ("Tour", "Session", "Gala", "Concert", "Showcase", "Evening")
TIERS = ("standing", "seated", "balcony", "vip")


def rows(draw: Draw) -> TableRows:
    days = [draw.day(FIRST_DAY, LAST_DAY) for _ in range(36)]
    tiers = [(event, tier) for event in range(1, 37) for tier in draw.some(TIERS, draw.number(2, 3))]
    return {
        "venues": [
            (f"{city} {hall}", city, draw.number(4, 60) * 50)
            for city, hall in zip(draw.cities(10), HALLS * 2, strict=True)
        ],
        "performers": [
            (name, draw.pick(GENRES), draw.mail(name), draw.amount(1_500, 40_000, 250))
            for name in draw.titles(24, COLORS, ANIMALS)
        ],
        "events": [
            (title, draw.number(1, 10), draw.number(1, 24), day, draw.time(17, 20), _event_status(draw, day))
            for title, day in zip(draw.titles(36, TOURS, SHOWS), days, strict=True)
        ],
        "ticket_tiers": [
            (event, tier, draw.amount(80, 150, 0.5) if tier == "vip" else draw.amount(15, 60, 0.5), draw.number(0, 180))
            for event, tier in tiers
        ],
        "customers": [(name, draw.mail(name), draw.phone()) for name in draw.people(55)],
        "ticket_orders": [
            (
                draw.number(1, 55),
                tier,
                draw.number(1, 5),
                min(draw.after(days[tiers[tier - 1][0] - 1], -120, -5), TODAY),
                draw.pick(("paid", "pending", "refunded"), (7, 2, 1)),
            )
            for tier in (draw.number(1, len(tiers)) for _ in range(140))
        ],
    }


def _event_status(draw: Draw, day: str) -> str:
    if day <= TODAY:
        return "past"
    return draw.pick(("on sale", "sold out", "postponed", "cancelled"), (7, 1, 1, 1))


DOMAIN = BundledDomain(
    "It sells tickets for events and keeps records of venues, performers, events, ticket tiers and orders.",
    SCHEMA,
    rows,
)
