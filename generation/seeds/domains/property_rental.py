"""A letting agency: landlords, properties, tenants, leases, rent payments and repair requests."""

from __future__ import annotations

from generation.seeds.domains.domain import BundledDomain, Row, TableRows
from generation.seeds.domains.draw import FIRST_DAY, TODAY, Draw

SCHEMA = """
CREATE TABLE landlords (
    landlord_id INTEGER PRIMARY KEY,
    landlord_name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    phone TEXT NOT NULL
);
CREATE TABLE properties (
    property_id INTEGER PRIMARY KEY,
    street_address TEXT NOT NULL,
    city TEXT NOT NULL,
    property_type TEXT NOT NULL CHECK (property_type IN ('apartment', 'house', 'studio', 'duplex')),
    bedrooms INTEGER NOT NULL CHECK (bedrooms >= 0),
    monthly_rent REAL NOT NULL CHECK (monthly_rent > 0),
    landlord_id INTEGER NOT NULL REFERENCES landlords (landlord_id),
    listing_status TEXT NOT NULL CHECK (listing_status IN ('available', 'let', 'under renovation'))
);
CREATE TABLE tenants (
    tenant_id INTEGER PRIMARY KEY,
    tenant_name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    phone TEXT NOT NULL,
    monthly_income REAL NOT NULL CHECK (monthly_income >= 0)
);
CREATE TABLE leases (
    lease_id INTEGER PRIMARY KEY,
    property_id INTEGER NOT NULL REFERENCES properties (property_id),
    tenant_id INTEGER NOT NULL REFERENCES tenants (tenant_id),
    start_date TEXT NOT NULL,
    end_date TEXT NOT NULL,
    deposit REAL NOT NULL CHECK (deposit >= 0),
    lease_status TEXT NOT NULL CHECK (lease_status IN ('active', 'ended', 'terminated'))
);
CREATE TABLE rent_payments (
    rent_payment_id INTEGER PRIMARY KEY,
    lease_id INTEGER NOT NULL REFERENCES leases (lease_id),
    due_on TEXT NOT NULL,
    amount REAL NOT NULL CHECK (amount > 0),
    payment_status TEXT NOT NULL CHECK (payment_status IN ('paid', 'late', 'unpaid'))
);
CREATE TABLE repair_requests (
    repair_request_id INTEGER PRIMARY KEY,
    property_id INTEGER NOT NULL REFERENCES properties (property_id),
    issue TEXT NOT NULL,
    reported_on TEXT NOT NULL,
    priority TEXT NOT NULL CHECK (priority IN ('low', 'normal', 'urgent')),
    request_status TEXT NOT NULL CHECK (request_status IN ('open', 'in progress', 'resolved'))
);
"""

ISSUES = (
    "leaking faucet",
    "broken heater",
    "mold in bathroom",
    "faulty wiring",
    "jammed door",
    "cracked window",
    "blocked drain",
)


def rows(draw: Draw) -> TableRows:
    rents = [draw.amount(650, 3_200, 25) for _ in range(50)]
    homes = draw.some(range(1, 51), 42)
    leases = [
        _lease(draw, home, tenant, rents[home - 1])
        for home, tenant in zip(homes, draw.some(range(1, 61), len(homes)), strict=True)
    ]
    let = {row[0] for row in leases if row[-1] == "active"}
    return {
        "landlords": [(name, draw.mail(name), draw.phone()) for name in draw.people(16)],
        "properties": [
            (
                draw.street(),
                city,
                draw.pick(("apartment", "house", "studio", "duplex"), (5, 3, 2, 1)),
                draw.number(1, 5),
                rent,
                draw.number(1, 16),
                "let" if number in let else draw.pick(("available", "under renovation"), (3, 1)),
            )
            for number, (rent, city) in enumerate(zip(rents, draw.cities(10) * 5, strict=True), start=1)
        ],
        "tenants": [(name, draw.mail(name), draw.phone(), draw.amount(1_800, 9_500, 50)) for name in draw.people(60)],
        "leases": leases,
        "rent_payments": [
            (
                lease,
                f"2025-0{month}-01",
                rents[homes[lease - 1] - 1],
                draw.pick(("paid", "late", "unpaid"), (8, 1, 1)),
            )
            for lease in range(1, len(leases) + 1)
            for month in (3, 4, 5, 6)
        ],
        "repair_requests": [
            (
                draw.number(1, 50),
                draw.pick(ISSUES),
                draw.day(FIRST_DAY, TODAY),
                draw.pick(("low", "normal", "urgent"), (3, 5, 2)),
                draw.pick(("open", "in progress", "resolved"), (3, 2, 5)),
            )
            for _ in range(50)
        ],
    }


def _lease(draw: Draw, home: int, tenant: int, rent: float) -> Row:
    """A lease of one or two years that runs at least until the spring of 2025; the deposit is two rents."""
    start = draw.day("2024-03-01", "2025-03-01")
    end = draw.after(start, 365, 365 * draw.number(1, 2))
    status = "ended" if end < TODAY else draw.pick(("active", "terminated"), (9, 1))
    return home, tenant, start, end, 2 * rent, status


DOMAIN = BundledDomain(
    "It is a letting agency and keeps records of landlords, properties, tenants, leases and rent payments.",
    SCHEMA,
    rows,
)
