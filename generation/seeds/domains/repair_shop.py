"""A repair shop for household devices: customers, devices, technicians, parts and repair jobs."""

from __future__ import annotations

from generation.seeds.domains.domain import BundledDomain, Row, TableRows
from generation.seeds.domains.draw import FIRST_DAY, TODAY, Draw

SCHEMA = """
CREATE TABLE customers (
    customer_id INTEGER PRIMARY KEY,
    customer_name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    phone TEXT NOT NULL,
    city TEXT NOT NULL
);
CREATE TABLE devices (
    device_id INTEGER PRIMARY KEY,
    serial_number TEXT NOT NULL UNIQUE,
    customer_id INTEGER NOT NULL REFERENCES customers (customer_id),
    device_type TEXT NOT NULL,
    brand TEXT NOT NULL,
    bought_on TEXT NOT NULL
);
CREATE TABLE technicians (
    technician_id INTEGER PRIMARY KEY,
    technician_name TEXT NOT NULL,
    specialty TEXT NOT NULL,
    hourly_rate REAL NOT NULL CHECK (hourly_rate > 0)
);
CREATE TABLE parts (
    part_id INTEGER PRIMARY KEY,
    part_name TEXT NOT NULL,
    unit_price REAL NOT NULL CHECK (unit_price > 0),
    stock_quantity INTEGER NOT NULL CHECK (stock_quantity >= 0),
    supplier_name TEXT NOT NULL
);
CREATE TABLE repair_jobs (
    repair_job_id INTEGER PRIMARY KEY,
    device_id INTEGER NOT NULL REFERENCES devices (device_id),
    technician_id INTEGER NOT NULL REFERENCES technicians (technician_id),
    fault TEXT NOT NULL,
    received_on TEXT NOT NULL,
    labor_hours REAL NOT NULL CHECK (labor_hours >= 0),
    job_status TEXT NOT NULL
        CHECK (job_status IN ('received', 'waiting for parts', 'in repair', 'ready', 'collected'))
);
CREATE TABLE part_uses (
    part_use_id INTEGER PRIMARY KEY,
    repair_job_id INTEGER NOT NULL REFERENCES repair_jobs (repair_job_id),
    part_id INTEGER NOT NULL REFERENCES parts (part_id),
    quantity INTEGER NOT NULL CHECK (quantity > 0)
);
"""

DEVICES = ("washing machine", "coffee maker", "vacuum cleaner", "sewing machine", "radio", "food mixer", "dishwasher")
BRANDS = ("Norvik", "Altera", "Hausmann", "Brightwell", "Kestrel")
FAULTS = ("does not start", "leaks water", "loud noise", "overheats", "broken switch", "burnt smell", "stops mid-cycle")
QUALITIES = ("Standard", "Heavy Duty", "Compact", "Universal", "Sealed")
PIECES = ("Motor", "Drive Belt", "Pump", "Fuse", "Heating Coil", "Door Hinge", "Control Board", "Bearing")


def rows(draw: Draw) -> TableRows:
    suppliers = draw.companies(5, ("Components", "Spares", "Supply"))
    return {
        "customers": [
            (name, draw.mail(name), draw.phone(), city)
            for name, city in zip(draw.people(50), draw.cities(10) * 5, strict=True)
        ],
        "devices": [
            (
                draw.code("SN-??####"),
                draw.number(1, 50),
                draw.pick(DEVICES),
                draw.pick(BRANDS),
                draw.day("2016-01-01", "2024-12-31"),
            )
            for _ in range(70)
        ],
        "technicians": [(name, f"{draw.pick(DEVICES)}s", draw.amount(28, 60, 1)) for name in draw.people(10)],
        "parts": [
            (title, draw.amount(3, 140, 0.5), draw.number(0, 40), draw.pick(suppliers))
            for title in draw.titles(34, QUALITIES, PIECES)
        ],
        "repair_jobs": [_job(draw) for _ in range(100)],
        "part_uses": [(draw.number(1, 100), draw.number(1, 34), draw.number(1, 3)) for _ in range(100)],
    }


def _job(draw: Draw) -> Row:
    """A job of recent weeks is still in the shop; most older ones have been collected."""
    received = draw.day(FIRST_DAY, TODAY)
    recent = ("received", "waiting for parts", "in repair", "ready"), (3, 2, 3, 2)
    older = ("ready", "collected", "waiting for parts"), (2, 7, 1)
    status = draw.pick(*(recent if received > "2025-06-01" else older))
    hours = 0.0 if status == "received" else draw.amount(0.5, 6, 0.5)
    return draw.number(1, 70), draw.number(1, 10), draw.pick(FAULTS), received, hours, status


DOMAIN = BundledDomain(
    "It repairs devices and keeps records of customers, technicians, spare parts and repair jobs.",
    SCHEMA,
    rows,
)
