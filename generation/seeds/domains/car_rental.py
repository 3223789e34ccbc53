"""A car rental company: branches, vehicles, customers, rentals, damage reports and maintenance."""

from __future__ import annotations

from generation.seeds.domains.domain import BundledDomain, Row, TableRows
from generation.seeds.domains.draw import FIRST_DAY, LAST_DAY, TODAY, Draw

SCHEMA = """
CREATE TABLE branches (
    branch_id INTEGER PRIMARY KEY,
    branch_name TEXT NOT NULL,
    city TEXT NOT NULL,
    phone TEXT NOT NULL,
    parking_spaces INTEGER NOT NULL
);
CREATE TABLE vehicles (
    vehicle_id INTEGER PRIMARY KEY,
    license_plate TEXT NOT NULL UNIQUE,
    make TEXT NOT NULL,
    model TEXT NOT NULL,
    category TEXT NOT NULL CHECK (category IN ('economy', 'compact', 'suv', 'van', 'luxury')),
    branch_id INTEGER NOT NULL REFERENCES branches (branch_id),
    daily_rate REAL NOT NULL CHECK (daily_rate > 0),
    mileage_km INTEGER NOT NULL CHECK (mileage_km >= 0),
    vehicle_status TEXT NOT NULL CHECK (vehicle_status IN ('available', 'rented', 'in workshop', 'retired'))
);
CREATE TABLE customers (
    customer_id INTEGER PRIMARY KEY,
    customer_name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    phone TEXT NOT NULL,
    driver_license TEXT NOT NULL,
    loyalty_points INTEGER NOT NULL CHECK (loyalty_points >= 0)
);
CREATE TABLE rentals (
    rental_id INTEGER PRIMARY KEY,
    vehicle_id INTEGER NOT NULL REFERENCES vehicles (vehicle_id),
    customer_id INTEGER NOT NULL REFERENCES customers (customer_id),
    pickup_date TEXT NOT NULL,
    return_date TEXT NOT NULL,
    total_price REAL NOT NULL CHECK (total_price >= 0),
    rental_status TEXT NOT NULL CHECK (rental_status IN ('reserved', 'ongoing', 'closed', 'cancelled'))
);
CREATE TABLE damage_reports (
    damage_report_id INTEGER PRIMARY KEY,
    rental_id INTEGER NOT NULL REFERENCES rentals (rental_id),
    reported_on TEXT NOT NULL,
    damage TEXT NOT NULL,
    repair_cost REAL NOT NULL CHECK (repair_cost >= 0),
    report_status TEXT NOT NULL CHECK (report_status IN ('open', 'charged', 'waived'))
);
CREATE TABLE services (
    service_id INTEGER PRIMARY KEY,
    vehicle_id INTEGER NOT NULL REFERENCES vehicles (vehicle_id),
    service_date TEXT NOT NULL,
    service_type TEXT NOT NULL CHECK (service_type IN ('oil change', 'tires', 'brakes', 'inspection')),
    cost REAL NOT NULL CHECK (cost >= 0)
);
"""

MODELS = (
    ("Toyota", "Yaris", "economy", 34.0), ("Kia", "Rio", "economy", 31.5), ("Ford", "Focus", "compact", 44.0),
    ("Mazda", "3", "compact", 47.5), ("Honda", "CR-V", "suv", 68.0), ("Subaru", "Forester", "suv", 71.0),
    ("Ford", "Transit", "van", 84.0), ("Volvo", "S90", "luxury", 119.0), ("Lexus", "ES", "luxury", 124.5),
)  # fmt: skip
DAMAGES = ("scratched door", "cracked windshield", "dented bumper", "broken mirror", "stained seat", "flat tire")


def rows(draw: Draw) -> TableRows:
    cars = [draw.pick(MODELS) for _ in range(50)]
    rentals = [_rental(draw, [car[3] for car in cars]) for _ in range(130)]
    closed = [number for number, row in enumerate(rentals, start=1) if row[-1] == "closed"]
    away = {row[0] for row in rentals if row[-1] == "ongoing"}
    return {
        "branches": [
            (f"{city} {place}", city, draw.phone(), draw.number(12, 60))
            for city, place in zip(draw.cities(8), ("Downtown", "Station", "Harbor", "Central") * 2, strict=True)
        ],
        "vehicles": [
            (
                draw.code("???-####"),
                make,
                model,
                category,
                draw.number(1, 8),
                rate,
                draw.number(1_200, 90_000),
                "rented" if number in away else draw.pick(("available", "in workshop", "retired"), (8, 1, 1)),
            )
            for number, (make, model, category, rate) in enumerate(cars, start=1)
        ],
        "customers": [
            (name, draw.mail(name), draw.phone(), draw.code("D#######"), draw.number(0, 80) * 25)
            for name in draw.people(60)
        ],
        "rentals": rentals,
        "damage_reports": [
            (
                rental,
                rentals[rental - 1][3],
                draw.pick(DAMAGES),
                draw.amount(40, 900, 5),
                draw.pick(("open", "charged", "waived"), (3, 5, 1)),
            )
            for rental in draw.some(closed, 18)
        ],
        "services": [
            (
                draw.number(1, 50),
                draw.day("2024-07-01", TODAY),
                draw.pick(("oil change", "tires", "brakes", "inspection")),
                draw.amount(45, 600, 5),
            )
            for _ in range(55)
        ],
    }


def _rental(draw: Draw, rates: list[float]) -> Row:
    vehicle = draw.number(1, len(rates))
    pickup, days = draw.day(FIRST_DAY, LAST_DAY), draw.number(1, 14)
    back = draw.after(pickup, days, days)
    status = "reserved" if pickup > TODAY else "ongoing" if back > TODAY else "closed"
    if draw.number(1, 12) == 1:
        status = "cancelled"
    return vehicle, draw.number(1, 60), pickup, back, round(rates[vehicle - 1] * days, 2), status


DOMAIN = BundledDomain(
    "It rents out vehicles from several branches and keeps records of customers, rentals and damage reports.",
    SCHEMA,
    rows,
)
