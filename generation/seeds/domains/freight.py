"""A road freight company: depots, drivers, trucks, clients, shipments and their tracking events."""

from __future__ import annotations

from generation.seeds.domains.domain import BundledDomain, Row, TableRows
from generation.seeds.domains.draw import FIRST_DAY, LAST_DAY, TODAY, Draw

SCHEMA = """
CREATE TABLE depots (
    depot_id INTEGER PRIMARY KEY,
    depot_name TEXT NOT NULL,
    city TEXT NOT NULL,
    loading_docks INTEGER NOT NULL CHECK (loading_docks > 0)
);
CREATE TABLE drivers (
    driver_id INTEGER PRIMARY KEY,
    driver_name TEXT NOT NULL,
    phone TEXT NOT NULL,
    license_class TEXT NOT NULL CHECK (license_class IN ('B', 'C', 'CE')),
    driver_status TEXT NOT NULL CHECK (driver_status IN ('on duty', 'off duty', 'on leave'))
);
CREATE TABLE trucks (
    truck_id INTEGER PRIMARY KEY,
    plate_number TEXT NOT NULL UNIQUE,
    depot_id INTEGER NOT NULL REFERENCES depots (depot_id),
    driver_id INTEGER NOT NULL REFERENCES drivers (driver_id),
    payload_kg INTEGER NOT NULL CHECK (payload_kg > 0),
    odometer_km INTEGER NOT NULL CHECK (odometer_km >= 0)
);
CREATE TABLE clients (
    client_id INTEGER PRIMARY KEY,
    company_name TEXT NOT NULL,
    contact_email TEXT NOT NULL,
    city TEXT NOT NULL,
    credit_limit REAL NOT NULL CHECK (credit_limit >= 0)
);
CREATE TABLE shipments (
    shipment_id INTEGER PRIMARY KEY,
    tracking_code TEXT NOT NULL UNIQUE,
    client_id INTEGER NOT NULL REFERENCES clients (client_id),
    depot_id INTEGER NOT NULL REFERENCES depots (depot_id),
    truck_id INTEGER REFERENCES trucks (truck_id),
    destination_city TEXT NOT NULL,
    pickup_date TEXT NOT NULL,
    weight_kg REAL NOT NULL CHECK (weight_kg > 0),
    price REAL NOT NULL CHECK (price > 0),
    shipment_status TEXT NOT NULL
        CHECK (shipment_status IN ('booked', 'in transit', 'delivered', 'delayed', 'cancelled'))
);
CREATE TABLE tracking_events (
    tracking_event_id INTEGER PRIMARY KEY,
    shipment_id INTEGER NOT NULL REFERENCES shipments (shipment_id),
    event_date TEXT NOT NULL,
    location TEXT NOT NULL,
    note TEXT NOT NULL
);
"""

YARDS = ("North Depot", "South Depot", "Rail Yard", "Cargo Park")
TRADES = ("Furniture", "Plastics", "Foods", "Machines", "Textiles", "Paper")
NOTES = ("picked up", "left depot", "held at customs", "arrived at hub", "out for delivery", "address corrected")


def rows(draw: Draw) -> TableRows:
    towns = draw.cities(14)
    pickups = [draw.day(FIRST_DAY, LAST_DAY) for _ in range(120)]
    shipments = [_shipment(draw, towns, pickup) for pickup in pickups]
    moving = [number for number, row in enumerate(shipments, start=1) if row[3] is not None]
    return {
        "depots": [
            (f"{town} {yard}", town, draw.number(4, 24)) for town, yard in zip(towns[:8], YARDS * 2, strict=True)
        ],
        "drivers": [
            (
                name,
                draw.phone(),
                draw.pick(("B", "C", "CE"), (1, 3, 4)),
                draw.pick(("on duty", "off duty", "on leave"), (6, 3, 1)),
            )
            for name in draw.people(24)
        ],
        "trucks": [
            (
                draw.code("TR-###-??"),
                draw.number(1, 8),
                driver,
                draw.pick((3_500, 7_500, 12_000, 18_000, 24_000)),
                draw.number(8_000, 420_000),
            )
            for driver in draw.some(range(1, 25), 22)
        ],
        "clients": [
            (name, draw.mail(name), draw.pick(towns), draw.amount(5_000, 80_000, 2_500))
            for name in draw.companies(30, TRADES)
        ],
        "shipments": shipments,
        "tracking_events": [
            (shipment, min(draw.after(pickups[shipment - 1], 0, 6), TODAY), draw.pick(towns), draw.pick(NOTES))
            for shipment in (draw.pick(moving) for _ in range(140))
        ],
    }


def _shipment(draw: Draw, towns: list[str], pickup: str) -> Row:
    """A shipment that awaits pickup has no truck; the price is a fixed charge plus one by weight."""
    weight = draw.amount(80, 6_000, 20)
    if pickup > TODAY:
        status = draw.pick(("booked", "cancelled"), (9, 1))
    else:
        status = draw.pick(("delivered", "in transit", "delayed"), (7, 2, 1) if pickup > "2025-06-15" else (9, 0, 1))
    truck = None if pickup > TODAY else draw.number(1, 22)
    price = round(90 + 0.35 * weight, 2)
    code, client, depot = draw.code("FR######"), draw.number(1, 30), draw.number(1, 8)
    return code, client, depot, truck, draw.pick(towns), pickup, weight, price, status


DOMAIN = BundledDomain(
    "It carries goods by road and keeps records of depots, drivers, trucks, clients, shipments and tracking.",
    SCHEMA,
    rows,
)
