"""An outpatient clinic: doctors, patients, appointments, prescriptions and invoices."""

from __future__ import annotations

from generation.seeds.domains.domain import BundledDomain, Row, TableRows
from generation.seeds.domains.draw import FIRST_DAY, LAST_DAY, TODAY, Draw

SCHEMA = """
CREATE TABLE departments (
    department_id INTEGER PRIMARY KEY,
    department_name TEXT NOT NULL,
    floor INTEGER NOT NULL,
    phone TEXT NOT NULL
);
CREATE TABLE doctors (
    doctor_id INTEGER PRIMARY KEY,
    doctor_name TEXT NOT NULL,
    department_id INTEGER NOT NULL REFERENCES departments (department_id),
    email TEXT NOT NULL UNIQUE,
    consultation_fee REAL NOT NULL CHECK (consultation_fee >= 0),
    years_experience INTEGER NOT NULL
);
CREATE TABLE patients (
    patient_id INTEGER PRIMARY KEY,
    patient_name TEXT NOT NULL,
    birth_date TEXT NOT NULL,
    phone TEXT NOT NULL,
    city TEXT NOT NULL,
    insurance_plan TEXT NOT NULL CHECK (insurance_plan IN ('basic', 'standard', 'premium', 'none'))
);
CREATE TABLE appointments (
    appointment_id INTEGER PRIMARY KEY,
    patient_id INTEGER NOT NULL REFERENCES patients (patient_id),
    doctor_id INTEGER NOT NULL REFERENCES doctors (doctor_id),
    appointment_date TEXT NOT NULL,
    start_time TEXT NOT NULL,
    reason TEXT NOT NULL,
    appointment_status TEXT NOT NULL
        CHECK (appointment_status IN ('scheduled', 'completed', 'cancelled', 'no-show'))
);
CREATE TABLE prescriptions (
    prescription_id INTEGER PRIMARY KEY,
    appointment_id INTEGER NOT NULL REFERENCES appointments (appointment_id),
    medication TEXT NOT NULL,
    daily_doses INTEGER NOT NULL CHECK (daily_doses > 0),
    duration_days INTEGER NOT NULL CHECK (duration_days > 0),
    refills_left INTEGER NOT NULL CHECK (refills_left >= 0)
);
CREATE TABLE invoices (
    invoice_id INTEGER PRIMARY KEY,
    appointment_id INTEGER NOT NULL REFERENCES appointments (appointment_id),
    issued_on TEXT NOT NULL,
    amount REAL NOT NULL CHECK (amount >= 0),
    invoice_status TEXT NOT NULL CHECK (invoice_status IN ('open', 'paid', 'waived'))
);
"""

DEPARTMENTS = ("Cardiology", "Dermatology", "Pediatrics", "Orthopedics", "Neurology", "General Medicine")
REASONS = (
    "annual check-up",
    "back pain",
    "skin rash",
    "headaches",
    "follow-up visit",
    "chest pain",
    "vaccination",
    "knee injury",
)
MEDICATIONS = (
    "Amoxicillin",
    "Ibuprofen",
    "Lisinopril",
    "Metformin",
    "Cetirizine",
    "Omeprazole",
    "Atorvastatin",
    "Hydrocortisone",
)


def rows(draw: Draw) -> TableRows:
    fees = [draw.amount(60, 240, 5) for _ in range(14)]
    days = [draw.day(FIRST_DAY, LAST_DAY) for _ in range(140)]
    doctors = [draw.number(1, 14) for _ in days]
    appointments = [_appointment(draw, doctor, day) for doctor, day in zip(doctors, days, strict=True)]
    completed = [number for number, row in enumerate(appointments, start=1) if row[-1] == "completed"]
    return {
        "departments": [(name, draw.number(1, 4), draw.phone()) for name in DEPARTMENTS],
        "doctors": [
            (f"Dr. {name}", 1 + number % len(DEPARTMENTS), draw.mail(name), fee, draw.number(2, 35))
            for number, (name, fee) in enumerate(zip(draw.people(14), fees, strict=True))
        ],
        "patients": [
            (
                name,
                draw.day("1940-01-01", "2020-12-31"),
                draw.phone(),
                city,
                draw.pick(("basic", "standard", "premium", "none"), (3, 4, 2, 1)),
            )
            for name, city in zip(draw.people(60), draw.cities(12) * 5, strict=True)
        ],
        "appointments": appointments,
        "prescriptions": [
            (
                appointment,
                draw.pick(MEDICATIONS),
                draw.number(1, 3),
                draw.pick((5, 7, 10, 14, 30)),
                draw.number(0, 3),
            )
            for appointment in draw.some(completed, 50)
        ],
        "invoices": [
            (
                appointment,
                draw.after(days[appointment - 1], 0, 10),
                fees[doctors[appointment - 1] - 1],
                draw.pick(("open", "paid", "waived"), (3, 6, 1)),
            )
            for appointment in completed
        ],
    }


def _appointment(draw: Draw, doctor: int, day: str) -> Row:
    passed = ("completed", "cancelled", "no-show"), (8, 1, 1)
    coming = ("scheduled", "cancelled"), (9, 1)
    status = draw.pick(*(passed if day <= TODAY else coming))
    return draw.number(1, 60), doctor, day, draw.time(8, 16), draw.pick(REASONS), status


DOMAIN = BundledDomain(
    "It is an outpatient clinic and keeps records of doctors, patients, appointments, prescriptions and invoices.",
    SCHEMA,
    rows,
)
