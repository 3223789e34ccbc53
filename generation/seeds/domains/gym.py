"""A gym: membership plans, members, trainers, classes, bookings and payments."""

from __future__ import annotations

from generation.seeds.domains.domain import BundledDomain, TableRows
from generation.seeds.domains.draw import FIRST_DAY, TODAY, Draw

SCHEMA = """
CREATE TABLE plans (
    plan_id INTEGER PRIMARY KEY,
    plan_name TEXT NOT NULL,
    monthly_price REAL NOT NULL CHECK (monthly_price > 0),
    classes_per_month INTEGER NOT NULL
);
CREATE TABLE members (
    member_id INTEGER PRIMARY KEY,
    member_name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    phone TEXT NOT NULL,
    plan_id INTEGER NOT NULL REFERENCES plans (plan_id),
    joined_on TEXT NOT NULL,
    member_status TEXT NOT NULL CHECK (member_status IN ('active', 'frozen', 'cancelled'))
);
CREATE TABLE trainers (
    trainer_id INTEGER PRIMARY KEY,
    trainer_name TEXT NOT NULL,
    specialty TEXT NOT NULL,
    hourly_rate REAL NOT NULL CHECK (hourly_rate > 0),
    phone TEXT NOT NULL
);
CREATE TABLE classes (
    class_id INTEGER PRIMARY KEY,
    class_name TEXT NOT NULL,
    trainer_id INTEGER NOT NULL REFERENCES trainers (trainer_id),
    weekday TEXT NOT NULL CHECK (weekday IN ('Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday')),
    start_time TEXT NOT NULL,
    duration_minutes INTEGER NOT NULL CHECK (duration_minutes > 0),
    capacity INTEGER NOT NULL CHECK (capacity > 0)
);
CREATE TABLE bookings (
    booking_id INTEGER PRIMARY KEY,
    class_id INTEGER NOT NULL REFERENCES classes (class_id),
    member_id INTEGER NOT NULL REFERENCES members (member_id),
    booked_on TEXT NOT NULL,
    booking_status TEXT NOT NULL CHECK (booking_status IN ('booked', 'attended', 'missed', 'cancelled'))
);
CREATE TABLE payments (
    payment_id INTEGER PRIMARY KEY,
    member_id INTEGER NOT NULL REFERENCES members (member_id),
    paid_on TEXT NOT NULL,
    amount REAL NOT NULL CHECK (amount > 0),
    payment_method TEXT NOT NULL CHECK (payment_method IN ('card', 'bank transfer', 'cash'))
);
"""

PLANS = (
    ("Off-Peak", 24.9, 4),
    ("Standard", 39.9, 8),
    ("Plus", 54.9, 16),
    ("Family", 79.9, 24),
    ("Unlimited", 89.9, 60),
)
STYLES = ("Morning", "Power", "Gentle", "Express", "Weekend", "Advanced")
KINDS = ("Yoga", "Spin", "Pilates", "Boxing", "Rowing", "Core", "Stretch")
SPECIALTIES = ("strength", "yoga", "cycling", "boxing", "mobility", "swimming")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


def rows(draw: Draw) -> TableRows:
    plan_of = [draw.number(1, len(PLANS)) for _ in range(60)]
    payers = [draw.number(1, 60) for _ in range(90)]
    return {
        "plans": list(PLANS),
        "members": [
            (
                name,
                draw.mail(name),
                draw.phone(),
                plan,
                draw.day("2021-01-01", "2025-01-31"),
                draw.pick(("active", "frozen", "cancelled"), (8, 1, 1)),
            )
            for name, plan in zip(draw.people(60), plan_of, strict=True)
        ],
        "trainers": [
            (name, draw.pick(SPECIALTIES), draw.amount(30, 75, 2.5), draw.phone()) for name in draw.people(12)
        ],
        "classes": [
            (
                title,
                draw.number(1, 12),
                draw.pick(WEEKDAYS),
                draw.time(6, 19),
                draw.pick((30, 45, 60, 75)),
                draw.number(8, 24),
            )
            for title in draw.titles(24, STYLES, KINDS)
        ],
        "bookings": [
            (
                draw.number(1, 24),
                draw.number(1, 60),
                draw.day(FIRST_DAY, TODAY),
                draw.pick(("booked", "attended", "missed", "cancelled"), (4, 5, 1, 1)),
            )
            for _ in range(150)
        ],
        "payments": [
            (
                member,
                draw.day(FIRST_DAY, TODAY),
                PLANS[plan_of[member - 1] - 1][1],
                draw.pick(("card", "bank transfer", "cash"), (6, 3, 1)),
            )
            for member in payers
        ],
    }


DOMAIN = BundledDomain(
    "It runs a gym and keeps records of membership plans, members, trainers, classes, bookings and payments.",
    SCHEMA,
    rows,
)
