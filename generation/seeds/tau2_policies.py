"""The policies of τ²-bench's airline and retail: the benchmark's own texts, with rules for what code can check.

The texts are read from inspect-evals and stand in no file of this project. What the rules cannot express stays in the
text alone: free bags, allowed payment methods, the same route and product, who may be compensated, and whether an
insurance covers the reason for a cancellation.
"""

from __future__ import annotations

from typing import Any

from core.policy import Policy
from generation.seeds.tau2_data import Tau2Domain, policy_text

_RESERVATION = {"tool": "get_reservation_details", "arguments": {"reservation_id": "${reservation_id}"}}
_FLIGHT_STATUS = {
    "tool": "get_flight_status",
    "arguments": {"flight_number": "${flight_number}", "date": "${date}"},
    "of": _RESERVATION,
    "each": "flights",
}
_UPDATES = ["update_reservation_baggages", "update_reservation_flights", "update_reservation_passengers"]
_NOT_FLOWN = {"field": "value", "op": "not_in", "value": ["landed", "flying"]}
_ECONOMY_FLIGHTS_STAY = "The flights of a basic economy reservation cannot be changed; its cabin can."

_AIRLINE: list[dict[str, Any]] = [
    {
        "form": "confirm",
        "rule_id": "confirm_changes",
        "text": "List the details and get the user's explicit yes before you book, change or cancel anything.",
        "tools": ["book_reservation", "cancel_reservation", *_UPDATES],
    },
    {
        "form": "arguments",
        "rule_id": "five_passengers",
        "text": "A reservation has at most five passengers.",
        "tools": ["book_reservation"],
        "require": [{"field": "count of passengers", "op": "at_most", "value": 5}],
    },
    {
        "form": "state",
        "rule_id": "same_number_of_passengers",
        "text": "The number of passengers of a reservation cannot be changed.",
        "tools": ["update_reservation_passengers"],
        "look_up": _RESERVATION,
        "require": [{"field": "count of passengers", "op": "is", "value": "${count of passengers}"}],
    },
    {
        "form": "state",
        "rule_id": "basic_economy_keeps_its_flights",
        "text": _ECONOMY_FLIGHTS_STAY,
        "tools": ["update_reservation_flights"],
        "look_up": _RESERVATION,
        "require": [{"field": "cabin", "op": "is_not", "value": "basic_economy"}],
        "unless": [{"field": "flights.flight_number", "op": "is", "value": "${flights.flight_number}"}],
    },
    {
        "form": "state",
        "rule_id": "basic_economy_keeps_its_dates",
        "text": _ECONOMY_FLIGHTS_STAY,
        "tools": ["update_reservation_flights"],
        "look_up": _RESERVATION,
        "require": [{"field": "cabin", "op": "is_not", "value": "basic_economy"}],
        "unless": [{"field": "flights.date", "op": "is", "value": "${flights.date}"}],
    },
    {
        "form": "state",
        "rule_id": "flown_reservations_keep_their_cabin",
        "text": "The cabin cannot be changed if any flight of the reservation has been flown.",
        "tools": ["update_reservation_flights"],
        "look_up": _FLIGHT_STATUS,
        "require": [_NOT_FLOWN],
        "unless": [{"field": "cabin", "op": "is", "value": "${cabin}"}],
    },
    {
        "form": "state",
        "rule_id": "bags_are_never_removed",
        "text": "Checked bags can be added but not removed.",
        "tools": ["update_reservation_baggages"],
        "look_up": _RESERVATION,
        "require": [{"field": "total_baggages", "op": "at_most", "value": "${total_baggages}"}],
    },
    {
        "form": "state",
        "rule_id": "flown_reservations_stay",
        "text": "A reservation of which any flight has been flown cannot be cancelled.",
        "tools": ["cancel_reservation"],
        "look_up": _FLIGHT_STATUS,
        "require": [_NOT_FLOWN],
    },
    {
        "form": "state",
        "rule_id": "when_reservations_can_be_cancelled",
        "text": "A reservation can be cancelled within 24 hours of booking, if the airline cancelled its flight, if it is "
        "business, or if its insurance covers the reason.",
        "tools": ["cancel_reservation"],
        "look_up": _FLIGHT_STATUS,
        "require": [{"field": "cabin", "op": "is", "value": "business"}],
        "unless": [
            {"field": "created_at", "op": "after", "value": "${now - 24 hours}"},
            {"field": "value", "op": "is", "value": "cancelled"},
            {"field": "insurance", "op": "is", "value": "yes"},
        ],
    },
    {
        "form": "arguments",
        "rule_id": "amounts_of_certificates",
        "text": "A certificate is worth 100 dollars for each passenger of a cancelled flight, 50 for each of a delayed one.",
        "tools": ["send_certificate"],
        "require": [{"field": "amount", "op": "in", "value": [50, 100, 150, 200, 250, 300, 400, 500]}],
    },
]

_ORDER = {"tool": "get_order_details", "arguments": {"order_id": "${order_id}"}}
_OF_PENDING = [
    "cancel_pending_order",
    "modify_pending_order_address",
    "modify_pending_order_items",
    "modify_pending_order_payment",
]
_OF_DELIVERED = ["exchange_delivered_order_items", "return_delivered_order_items"]
_FIND = ["find_user_id_by_email", "find_user_id_by_name_zip"]

_RETAIL: list[dict[str, Any]] = [
    {
        "form": "identity",
        "rule_id": "known_owner_of_the_order",
        "text": "Find the user by e-mail address, or by name and zip code, before you change one of their orders.",
        "tools": [*_OF_PENDING, *_OF_DELIVERED],
        "first": _FIND,
        "subject": "user_id",
        "look_up": _ORDER,
    },
    {
        "form": "identity",
        "rule_id": "known_user",
        "text": "Find the user by e-mail address, or by name and zip code, before you change their address.",
        "tools": ["modify_user_address"],
        "first": _FIND,
        "subject": "user_id",
    },
    {
        "form": "confirm",
        "rule_id": "confirm_changes",
        "text": "List the details and get the user's explicit yes before you cancel, change, return or exchange anything.",
        "tools": [*_OF_PENDING, *_OF_DELIVERED, "modify_user_address"],
    },
    {
        "form": "state",
        "rule_id": "pending_orders_only",
        "text": "Only a pending order can be cancelled or modified, and its items only once.",
        "tools": _OF_PENDING,
        "look_up": _ORDER,
        "require": [{"field": "status", "op": "is", "value": "pending"}],
    },
    {
        "form": "state",
        "rule_id": "delivered_orders_only",
        "text": "Only a delivered order can be returned or exchanged, and only once.",
        "tools": _OF_DELIVERED,
        "look_up": _ORDER,
        "require": [{"field": "status", "op": "is", "value": "delivered"}],
    },
    {
        "form": "arguments",
        "rule_id": "reasons_to_cancel",
        "text": "The reason for a cancellation is 'no longer needed' or 'ordered by mistake'.",
        "tools": ["cancel_pending_order"],
        "require": [{"field": "reason", "op": "in", "value": ["no longer needed", "ordered by mistake"]}],
    },
    {
        "form": "arguments",
        "rule_id": "one_new_item_for_each",
        "text": "Each item is replaced by one item.",
        "tools": ["modify_pending_order_items", "exchange_delivered_order_items"],
        "require": [{"field": "count of new_item_ids", "op": "is", "value": "${count of item_ids}"}],
    },
    {
        "form": "state",
        "rule_id": "another_payment_method",
        "text": "The new payment method of an order differs from the one that it was paid with.",
        "tools": ["modify_pending_order_payment"],
        "look_up": _ORDER,
        "require": [{"field": "payment_history.payment_method_id", "op": "is_not", "value": "${payment_method_id}"}],
    },
]
_RULES = {"airline": _AIRLINE, "retail": _RETAIL}


def tau2_policy(domain: Tau2Domain) -> Policy:
    """The benchmark's policy of a domain. Raises UserError without inspect-evals."""
    return Policy.model_validate({"rules": _RULES[domain.name], "text": policy_text(domain)})
