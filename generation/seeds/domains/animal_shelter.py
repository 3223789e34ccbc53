"""Animal shelters: animals, adopters, adoptions, vaccinations and volunteer shifts."""

from __future__ import annotations

from generation.seeds.domains.domain import BundledDomain, Row, TableRows
from generation.seeds.domains.draw import FIRST_DAY, LAST_DAY, TODAY, Draw

SCHEMA = """
CREATE TABLE shelters (
    shelter_id INTEGER PRIMARY KEY,
    shelter_name TEXT NOT NULL,
    city TEXT NOT NULL,
    phone TEXT NOT NULL,
    kennels INTEGER NOT NULL CHECK (kennels > 0)
);
CREATE TABLE animals (
    animal_id INTEGER PRIMARY KEY,
    animal_name TEXT NOT NULL,
    species TEXT NOT NULL CHECK (species IN ('dog', 'cat', 'rabbit', 'parrot')),
    age_years INTEGER NOT NULL CHECK (age_years >= 0),
    weight_kg REAL NOT NULL CHECK (weight_kg > 0),
    shelter_id INTEGER NOT NULL REFERENCES shelters (shelter_id),
    arrived_on TEXT NOT NULL,
    animal_status TEXT NOT NULL CHECK (animal_status IN ('available', 'reserved', 'adopted', 'in treatment'))
);
CREATE TABLE adopters (
    adopter_id INTEGER PRIMARY KEY,
    adopter_name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    phone TEXT NOT NULL,
    city TEXT NOT NULL
);
CREATE TABLE adoptions (
    adoption_id INTEGER PRIMARY KEY,
    animal_id INTEGER NOT NULL REFERENCES animals (animal_id),
    adopter_id INTEGER NOT NULL REFERENCES adopters (adopter_id),
    applied_on TEXT NOT NULL,
    adoption_fee REAL NOT NULL CHECK (adoption_fee >= 0),
    adoption_status TEXT NOT NULL CHECK (adoption_status IN ('pending', 'approved', 'completed', 'rejected'))
);
CREATE TABLE vaccinations (
    vaccination_id INTEGER PRIMARY KEY,
    animal_id INTEGER NOT NULL REFERENCES animals (animal_id),
    vaccine TEXT NOT NULL,
    given_on TEXT NOT NULL,
    next_due_on TEXT NOT NULL,
    veterinarian_name TEXT NOT NULL
);
CREATE TABLE volunteers (
    volunteer_id INTEGER PRIMARY KEY,
    volunteer_name TEXT NOT NULL,
    phone TEXT NOT NULL,
    shelter_id INTEGER NOT NULL REFERENCES shelters (shelter_id),
    skill TEXT NOT NULL
);
CREATE TABLE shifts (
    shift_id INTEGER PRIMARY KEY,
    volunteer_id INTEGER NOT NULL REFERENCES volunteers (volunteer_id),
    shift_date TEXT NOT NULL,
    start_time TEXT NOT NULL,
    hours INTEGER NOT NULL CHECK (hours > 0),
    shift_status TEXT NOT NULL CHECK (shift_status IN ('planned', 'done', 'missed'))
);
"""

SHELTERS = (
    "Second Chance Shelter",
    "Happy Tails Shelter",
    "Safe Haven Shelter",
    "Four Paws Shelter",
    "Quiet Barn Shelter",
)
CALLS = ("Captain", "Lady", "Little", "Old", "Sir", "Miss", "Lucky", "Sunny")
NAMES = ("Biscuit", "Pepper", "Willow", "Bruno", "Hazel", "Mango", "Rusty", "Clover", "Ziggy", "Olive", "Nacho")
WEIGHTS = {"dog": (4.0, 38.0), "cat": (2.5, 7.0), "rabbit": (1.0, 3.5), "parrot": (0.2, 1.2)}
FEES = {"dog": 120.0, "cat": 80.0, "rabbit": 35.0, "parrot": 60.0}
VACCINES = ("rabies", "distemper", "parvovirus", "leptospirosis", "calicivirus")
SKILLS = ("dog walking", "cleaning", "photography", "driving", "front desk", "grooming")
OUTCOMES = {"pending": "reserved", "approved": "reserved", "completed": "adopted", "rejected": "available"}


def rows(draw: Draw) -> TableRows:
    species = [draw.pick(tuple(WEIGHTS), (5, 4, 2, 1)) for _ in range(70)]
    arrivals = [draw.day("2024-06-01", "2025-05-31") for _ in species]
    wanted = draw.some(range(1, 71), 34)
    outcomes = {animal: draw.pick(tuple(OUTCOMES), (3, 2, 5, 1)) for animal in wanted}
    vets = [f"Dr. {name}" for name in draw.people(4)]
    return {
        "shelters": [
            (name, city, draw.phone(), draw.number(20, 60)) for name, city in zip(SHELTERS, draw.cities(5), strict=True)
        ],
        "animals": [
            (
                name,
                kind,
                draw.number(0, 13),
                draw.amount(*WEIGHTS[kind], 0.1),
                draw.number(1, 5),
                arrived,
                OUTCOMES[outcomes[number]] if number in outcomes else draw.pick(("available", "in treatment"), (5, 1)),
            )
            for number, (name, kind, arrived) in enumerate(
                zip(draw.titles(70, CALLS, NAMES), species, arrivals, strict=True), start=1
            )
        ],
        "adopters": [
            (name, draw.mail(name), draw.phone(), city)
            for name, city in zip(draw.people(40), draw.cities(10) * 4, strict=True)
        ],
        "adoptions": [
            (animal, draw.number(1, 40), draw.after(arrivals[animal - 1], 3, 30), FEES[species[animal - 1]], outcome)
            for animal, outcome in outcomes.items()
        ],
        "vaccinations": [_vaccination(draw, vets) for _ in range(90)],
        "volunteers": [(name, draw.phone(), draw.number(1, 5), draw.pick(SKILLS)) for name in draw.people(24)],
        "shifts": [_shift(draw) for _ in range(60)],
    }


def _vaccination(draw: Draw, vets: list[str]) -> Row:
    vaccinated = draw.day("2024-07-01", TODAY)
    return draw.number(1, 70), draw.pick(VACCINES), vaccinated, draw.after(vaccinated, 365, 365), draw.pick(vets)


def _shift(draw: Draw) -> Row:
    day = draw.day(FIRST_DAY, LAST_DAY)
    status = "planned" if day > TODAY else draw.pick(("done", "missed"), (9, 1))
    return draw.number(1, 24), day, draw.time(8, 15), draw.number(2, 5), status


DOMAIN = BundledDomain(
    "It runs animal shelters and keeps records of animals, adopters, adoptions, vaccinations and volunteer shifts.",
    SCHEMA,
    rows,
)
