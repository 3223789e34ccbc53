"""A public library: books, members, loans and holds."""

from __future__ import annotations

from generation.seeds.domains.domain import BundledDomain, TableRows
from generation.seeds.domains.draw import FIRST_DAY, TODAY, Draw

SCHEMA = """
CREATE TABLE branches (
    branch_id INTEGER PRIMARY KEY,
    branch_name TEXT NOT NULL,
    street_address TEXT NOT NULL,
    phone TEXT NOT NULL,
    opening_time TEXT NOT NULL
);
CREATE TABLE authors (
    author_id INTEGER PRIMARY KEY,
    author_name TEXT NOT NULL,
    birth_year INTEGER NOT NULL,
    country TEXT NOT NULL
);
CREATE TABLE books (
    book_id INTEGER PRIMARY KEY,
    title TEXT NOT NULL,
    author_id INTEGER NOT NULL REFERENCES authors (author_id),
    genre TEXT NOT NULL,
    publication_year INTEGER NOT NULL,
    copies_owned INTEGER NOT NULL CHECK (copies_owned > 0),
    replacement_price REAL NOT NULL CHECK (replacement_price >= 0)
);
CREATE TABLE members (
    member_id INTEGER PRIMARY KEY,
    member_name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    phone TEXT NOT NULL,
    joined_on TEXT NOT NULL,
    membership_status TEXT NOT NULL CHECK (membership_status IN ('active', 'suspended', 'expired'))
);
CREATE TABLE loans (
    loan_id INTEGER PRIMARY KEY,
    book_id INTEGER NOT NULL REFERENCES books (book_id),
    member_id INTEGER NOT NULL REFERENCES members (member_id),
    branch_id INTEGER NOT NULL REFERENCES branches (branch_id),
    loaned_on TEXT NOT NULL,
    due_on TEXT NOT NULL,
    returned_on TEXT,
    loan_status TEXT NOT NULL CHECK (loan_status IN ('on loan', 'overdue', 'returned', 'lost')),
    fine_amount REAL NOT NULL CHECK (fine_amount >= 0)
);
CREATE TABLE holds (
    hold_id INTEGER PRIMARY KEY,
    book_id INTEGER NOT NULL REFERENCES books (book_id),
    member_id INTEGER NOT NULL REFERENCES members (member_id),
    branch_id INTEGER NOT NULL REFERENCES branches (branch_id),
    placed_on TEXT NOT NULL,
    hold_status TEXT NOT NULL CHECK (hold_status IN ('waiting', 'ready', 'collected', 'cancelled'))
);
"""

BRANCHES = ("Central Library", "Riverside Branch", "Hilltop Branch", "Old Mill Branch")
COUNTRIES = ("United States", "Ireland", "Canada", "Nigeria", "India", "Australia")
GENRES = ("Mystery", "Science Fiction", "History", "Biography", "Poetry", "Travel", "Children")
OPENINGS = (
    "The Silent",
    "A Borrowed",
    "The Last",
    "Beyond the",
    "Letters from the",
    "The Paper",
    "Under a",
    "The Seventh",
)
SUBJECTS = (
    "Lighthouse",
    "Orchard",
    "Cartographer",
    "Winter",
    "Harbor",
    "Clockmaker",
    "River",
    "Garden",
    "Comet",
    "Bridge",
)


def rows(draw: Draw) -> TableRows:
    births = [draw.number(1920, 1964) for _ in range(28)]
    writers = [draw.number(1, 28) for _ in range(60)]
    return {
        "branches": [(name, draw.street(), draw.phone(), f"0{draw.number(8, 9)}:00") for name in BRANCHES],
        "authors": [(name, birth, draw.pick(COUNTRIES)) for name, birth in zip(draw.people(28), births, strict=True)],
        "books": [
            (
                title,
                writer,
                draw.pick(GENRES),
                births[writer - 1] + draw.number(25, 60),
                draw.number(1, 6),
                draw.amount(9, 48, 0.5),
            )
            for title, writer in zip(draw.titles(60, OPENINGS, SUBJECTS), writers, strict=True)
        ],
        "members": [
            (
                name,
                draw.mail(name),
                draw.phone(),
                draw.day("2018-01-01", "2024-12-31"),
                draw.pick(("active", "suspended", "expired"), (8, 1, 1)),
            )
            for name in draw.people(45)
        ],
        "loans": [
            (draw.number(1, 60), draw.number(1, 45), draw.number(1, len(BRANCHES)), *_loan(draw)) for _ in range(150)
        ],
        "holds": [
            (
                draw.number(1, 60),
                draw.number(1, 45),
                draw.number(1, len(BRANCHES)),
                draw.day("2025-05-01", TODAY),
                draw.pick(("waiting", "ready", "collected", "cancelled"), (4, 2, 2, 1)),
            )
            for _ in range(40)
        ],
    }


def _loan(draw: Draw) -> tuple[str, str, str | None, str, float]:
    """A loan's dates (taken, due, returned), status and fine: a quarter for each late day."""
    loaned = draw.day(FIRST_DAY, TODAY)
    due = draw.after(loaned, 21, 21)
    returned = draw.after(loaned, 2, 35)
    if returned > TODAY or draw.number(1, 12) == 1:
        return loaned, due, None, "overdue" if due < TODAY else "on loan", 0.0
    late = max(0, draw.days(due, returned))
    return loaned, due, returned, "returned", 0.25 * late


DOMAIN = BundledDomain(
    "It is a public library with several branches and keeps records of books, members, loans and holds.",
    SCHEMA,
    rows,
)
