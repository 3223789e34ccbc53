"""A farm co-operative: farms, plots, crops, harvests, workers and deliveries."""

from __future__ import annotations

from generation.seeds.domains.domain import BundledDomain, Row, TableRows
from generation.seeds.domains.draw import TODAY, Draw

SCHEMA = """
CREATE TABLE farms (
    farm_id INTEGER PRIMARY KEY,
    farm_name TEXT NOT NULL,
    owner_name TEXT NOT NULL,
    village TEXT NOT NULL,
    phone TEXT NOT NULL,
    is_organic INTEGER NOT NULL CHECK (is_organic IN (0, 1))
);
CREATE TABLE crops (
    crop_id INTEGER PRIMARY KEY,
    crop_name TEXT NOT NULL,
    crop_type TEXT NOT NULL CHECK (crop_type IN ('vegetable', 'fruit', 'grain', 'herb')),
    price_per_kg REAL NOT NULL CHECK (price_per_kg > 0),
    growing_days INTEGER NOT NULL CHECK (growing_days > 0)
);
CREATE TABLE plots (
    plot_id INTEGER PRIMARY KEY,
    farm_id INTEGER NOT NULL REFERENCES farms (farm_id),
    crop_id INTEGER NOT NULL REFERENCES crops (crop_id),
    plot_code TEXT NOT NULL UNIQUE,
    area_hectares REAL NOT NULL CHECK (area_hectares > 0),
    planted_on TEXT NOT NULL,
    plot_status TEXT NOT NULL CHECK (plot_status IN ('growing', 'ready', 'harvested', 'fallow'))
);
CREATE TABLE harvests (
    harvest_id INTEGER PRIMARY KEY,
    plot_id INTEGER NOT NULL REFERENCES plots (plot_id),
    harvested_on TEXT NOT NULL,
    quantity_kg REAL NOT NULL CHECK (quantity_kg > 0),
    quality_grade TEXT NOT NULL CHECK (quality_grade IN ('A', 'B', 'C'))
);
CREATE TABLE workers (
    worker_id INTEGER PRIMARY KEY,
    worker_name TEXT NOT NULL,
    farm_id INTEGER NOT NULL REFERENCES farms (farm_id),
    job TEXT NOT NULL,
    daily_wage REAL NOT NULL CHECK (daily_wage > 0)
);
CREATE TABLE buyers (
    buyer_id INTEGER PRIMARY KEY,
    buyer_name TEXT NOT NULL,
    email TEXT NOT NULL,
    city TEXT NOT NULL
);
CREATE TABLE deliveries (
    delivery_id INTEGER PRIMARY KEY,
    harvest_id INTEGER NOT NULL REFERENCES harvests (harvest_id),
    buyer_id INTEGER NOT NULL REFERENCES buyers (buyer_id),
    delivery_date TEXT NOT NULL,
    quantity_kg REAL NOT NULL CHECK (quantity_kg > 0),
    delivery_status TEXT NOT NULL CHECK (delivery_status IN ('planned', 'on the way', 'delivered', 'refused'))
);
"""

CROPS = (
    ("Carrot", "vegetable"), ("Potato", "vegetable"), ("Leek", "vegetable"), ("Kale", "vegetable"),
    ("Tomato", "vegetable"), ("Beetroot", "vegetable"), ("Apple", "fruit"), ("Strawberry", "fruit"), ("Pear", "fruit"),
    ("Blueberry", "fruit"), ("Barley", "grain"), ("Oats", "grain"), ("Spelt", "grain"), ("Basil", "herb"),
    ("Thyme", "herb"), ("Mint", "herb"),
)  # fmt: skip
PLACES = ("Willow", "Stone", "Meadow", "Fox", "Sunny", "Cedar")
LANDS = ("Creek Farm", "Hill Farm", "Acres", "Hollow Farm")
JOBS = ("picker", "tractor driver", "irrigation hand", "packer", "foreman")
SHOPS = ("Kitchen", "Grocers", "Market", "Bakery")


def rows(draw: Draw) -> TableRows:
    harvested = [draw.day("2024-08-01", TODAY) for _ in range(100)]
    weights = [draw.amount(40, 900, 2.5) for _ in harvested]
    return {
        "farms": [
            (name, owner, village, draw.phone(), draw.number(0, 1))
            for name, owner, village in zip(
                draw.titles(12, PLACES, LANDS), draw.people(12), draw.cities(12), strict=True
            )
        ],
        "crops": [(*crop, draw.amount(0.6, 9, 0.1), draw.number(45, 160)) for crop in CROPS],
        "plots": [
            (
                draw.number(1, 12),
                draw.number(1, len(CROPS)),
                draw.code("P-?##"),
                draw.amount(0.5, 12, 0.1),
                draw.day("2024-03-01", "2025-05-31"),
                draw.pick(("growing", "ready", "harvested", "fallow"), (4, 2, 3, 1)),
            )
            for _ in range(48)
        ],
        "harvests": [
            (draw.number(1, 48), day, weight, draw.pick("ABC", (5, 3, 1)))
            for day, weight in zip(harvested, weights, strict=True)
        ],
        "workers": [(name, draw.number(1, 12), draw.pick(JOBS), draw.amount(80, 160, 2.5)) for name in draw.people(40)],
        "buyers": [
            (name, draw.mail(name), city)
            for name, city in zip(draw.companies(15, SHOPS), draw.cities(5) * 3, strict=True)
        ],
        "deliveries": [
            _delivery(draw, harvest, harvested[harvest - 1], weights[harvest - 1])
            for harvest in draw.some(range(1, 101), 80)
        ],
    }


def _delivery(draw: Draw, harvest: int, harvested: str, weight: float) -> Row:
    """A part of a harvest, delivered to a buyer within three weeks."""
    day = draw.after(harvested, 1, 21)
    status = "planned" if day > TODAY else draw.pick(("delivered", "refused"), (9, 1))
    return harvest, draw.number(1, 15), day, round(weight / draw.pick((2, 4, 5)), 1), status


DOMAIN = BundledDomain(
    "It unites several farms and keeps records of plots, crops, harvests, workers and deliveries.",
    SCHEMA,
    rows,
    title="farm co-operative",
)
