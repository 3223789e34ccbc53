"""Tools without a database: a travel service, and a shop with nested rows."""

from __future__ import annotations

from typing import Any

from core.messages import ToolSpec

STRING, INTEGER, NUMBER, BOOLEAN = ({"type": kind} for kind in ("string", "integer", "number", "boolean"))
DATE = {"type": "string", "format": "date"}


def obj(optional: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """An object schema; all properties but the `optional` ones are required."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def rows(**properties: Any) -> dict[str, Any]:
    return {"type": "array", "items": obj(**properties)}


def spec(name: str, parameters: dict[str, Any], returns: dict[str, Any] | None) -> ToolSpec:
    return ToolSpec(name=name, description=name.replace("_", " "), parameters=parameters, returns=returns)


TRAVEL = (
    spec(
        "get_weather",
        obj(("unit",), city=STRING, unit={"type": "string", "enum": ["celsius", "fahrenheit"]}),
        obj(temperature=NUMBER, condition=STRING),
    ),
    spec(
        "search_flights",
        obj(origin=STRING, destination=STRING, departure_date=DATE),
        rows(flight_id=STRING, price=NUMBER),
    ),
    spec(
        "book_flight",
        obj(("insurance",), flight_id=STRING, passenger_name=STRING, insurance=BOOLEAN),
        obj(booking_id=STRING, status=STRING),
    ),
    spec("cancel_booking", obj(("reason",), booking_id=STRING, reason=STRING), obj(status=STRING)),
    spec("get_booking", obj(booking_id=STRING), obj(booking_id=STRING, flight_id=STRING, passenger_name=STRING)),
    spec("convert_currency", obj(amount={"type": "number", "minimum": 1}, source=STRING, target=STRING), None),
)

_USER = obj(user_id=STRING, email=STRING)
_ORDER = obj(order_id=STRING, user_id=STRING, status=STRING, items={"type": "array"})
SHOP = (
    spec("get_user", obj(user_id=STRING), _USER),
    spec("find_user_id_by_email", obj(email=STRING), STRING),
    spec("get_order", obj(order_id=STRING), _ORDER),
    spec("get_product", obj(product_id=INTEGER), obj(product_id=INTEGER, name=STRING, price=NUMBER)),
    spec("get_coupon", obj(coupon_id=STRING), obj(coupon_id=STRING, value=NUMBER)),
    spec("cancel_pending_order", obj(order_id=STRING), _ORDER),
    spec(
        "return_items",
        obj(order_id=STRING, item_ids={"type": "array", "items": STRING}, payment_method_id=STRING),
        _ORDER,
    ),
    spec("update_address", obj(user_id=STRING, street=STRING, city=STRING), _USER),
    spec(
        "set_passengers",
        obj(order_id=STRING, passengers={"type": "array", "items": obj(first=STRING)}),
        _ORDER,
    ),
)


def shop_rows() -> dict[str, list[dict[str, Any]]]:
    """Six users, each with an order of two items; every second order is pending."""
    streets = ["Mill Lane", "Harbour Street", "Station Road", "Bridge Row", "Park Side", "Old Market"]
    users = [
        {
            "user_id": f"u{number}",
            "email": f"person{number}@x.org",
            "address": {"street": f"{number} {street}", "city": f"Town {number}"},
            "orders": [f"#W{number}"],
        }
        for number, street in enumerate(streets)
    ]
    orders = [
        {
            "order_id": f"#W{number}",
            "user_id": f"u{number}",
            "status": "pending" if number % 2 else "delivered",
            "items": [{"item_id": f"i{number}{part}", "product_id": 700 + number} for part in "ab"],
            "payment_history": [{"payment_method_id": f"card_{number}"}],
        }
        for number in range(len(streets))
    ]
    products = [{"product_id": 700 + number, "name": f"Lamp {number}", "price": 9.5} for number in range(len(streets))]
    return {"users": users, "orders": orders, "products": products}
