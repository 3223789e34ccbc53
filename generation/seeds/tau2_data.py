"""τ²-bench's airline and retail domains (Barres et al. 2025) from inspect-evals: databases and the agent's tools.

Every customer that a benchmark task names is removed from the databases, with all their records, so that generated data
cannot show a model the people, orders and reservations of its later test. Products and flights are shared by all
customers and stay. The package (extra `eval`) is imported only when a domain is used.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from inspect import isfunction
from pathlib import Path
from types import GenericAlias, ModuleType
from typing import Any, Literal, get_args

from pydantic import TypeAdapter

from core.messages import ToolSpec
from core.settings import UserError

ENGINE = "tau2"

EXCLUDED_TOOLS = ("calculate", "transfer_to_human_agents")
"""Excluded tools of the benchmark, which touch no data: arithmetic, and transfer to a human, which ends its dialogues
and proves nothing here."""


@dataclass(frozen=True)
class Tau2Domain:
    """`database` and `toolkit` name the package's classes of the data and of the tools on it; `records` is the kind of
    entity that customers own; `title`, `description` and `now` are those of its seed."""

    name: str
    database: str
    toolkit: str
    records: str
    title: str
    description: str
    now: str = ""

    @property
    def seed(self) -> str:
        """The name of its seed, and of the toolsets and dialogues generated from it."""
        return f"{ENGINE}_{self.name}"


DOMAINS = {
    domain.name: domain
    for domain in (
        Tau2Domain(
            name="airline",
            database="FlightDB",
            toolkit="AirlineAgentTools",
            records="reservations",
            title="airline booking",
            description="It keeps records of customers with their payment methods and saved passengers, of their "
            "reservations with flights, bags and payments, and of the flights of May 2024 with seats, prices and "
            "status by date.",
            now="Wednesday 2024-05-15 15:00",
        ),
        Tau2Domain(
            name="retail",
            database="RetailDB",
            toolkit="RetailAgentTools",
            records="orders",
            title="online shop",
            description="It keeps records of customers with their address and payment methods, of their orders with "
            "items, payments and deliveries, and of products whose variants differ in options, price and availability.",
        ),
    )
}


@cache
def database(domain: Tau2Domain, unfiltered: bool = False) -> Any:
    """The package's database object, shared by the entire process: never modify it.

    `unfiltered` keeps the entities that the benchmark's tasks name; use it only to replay those. Raises UserError
    without the package.
    """
    data = _read(domain, "db.json.gz")
    if not unfiltered:
        reserved_users = reserved(data, domain.records, " | ".join(_strings(_read(domain, "tasks.json"))))
        data["users"] = {key: user for key, user in data["users"].items() if key not in reserved_users}
        data[domain.records] = {
            key: record for key, record in data[domain.records].items() if record["user_id"] not in reserved_users
        }
    return getattr(_module(f"{domain.name}.data_model"), domain.database).model_validate(data)


def reserved(data: dict[str, dict[str, Any]], records: str, text: str) -> frozenset[str]:
    """The ids of the users that `text` names: by id, e-mail address or full name, or by the id of one of their records.

    A user who shares a name with someone in the text counts too: removing too many is better than one too few.
    """
    text = " ".join(text.casefold().split())
    users = set()
    for key, user in data["users"].items():
        first, last = user["name"]["first_name"], user["name"]["last_name"]
        # As a full name, or as the arguments of a lookup.
        names = (key, user["email"], f"{first} {last}", f"{first} | last_name | {last}")
        if any(name.casefold() in text for name in names):
            users.add(key)
    for key, record in data[records].items():
        if key.removeprefix("#").casefold() in text:
            users.add(record["user_id"])
    return frozenset(users)


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


@cache
def toolkit(domain: Tau2Domain) -> type[Any]:
    """The package's own tool methods, on a class whose objects need only a `db`: the original class keeps its database
    in the evaluation's store, validates all of it on each assignment and leaves a copy in a temporary file for each
    load."""
    official = getattr(_module(f"{domain.name}.{domain.toolkit}"), domain.toolkit)
    return type(domain.toolkit, (), {name: member for name, member in vars(official).items() if isfunction(member)})


@cache
def tool_specs(domain: Tau2Domain) -> tuple[ToolSpec, ...]:
    """The tools as shown to the benchmark's agent, sorted by name, with the schemas of their results."""
    factories = getattr(_module(f"{domain.name}.tools"), f"all_{domain.name}_tools")
    tools = [import_module("inspect_ai.tool").ToolDef(factory()) for factory in factories]
    returns = _returns(domain)
    specs = (
        ToolSpec(
            name=tool.name,
            description=tool.description,
            parameters=tool.parameters.model_dump(exclude_none=True),
            returns=returns[tool.name],
        )
        for tool in tools
        if tool.name not in EXCLUDED_TOOLS
    )
    return tuple(sorted(specs, key=lambda spec: spec.name))


def _returns(domain: Tau2Domain) -> dict[str, dict[str, Any]]:
    """Tool -> JSON Schema of its result, exact: derived from the package's data model, whose objects the tools
    return."""
    model = _module(f"{domain.name}.data_model")
    kinds = _airline_returns(model) if domain.name == "airline" else _retail_returns(model)
    return {tool: _schema(kind) for kind, tools in kinds for tool in tools.split()}


def _airline_returns(model: ModuleType) -> list[tuple[Any, str]]:
    statuses = sorted(get_args(kind.model_fields["status"].annotation)[0] for kind in get_args(model.FlightDateStatus))
    flights = GenericAlias(list, model.DirectFlight)
    updates = "update_reservation_baggages update_reservation_flights update_reservation_passengers"
    return [
        (model.Reservation, f"book_reservation cancel_reservation get_reservation_details {updates}"),
        (model.User, "get_user_details"),
        (GenericAlias(list, model.AirportCode), "list_all_airports"),
        (flights, "search_direct_flight"),
        (GenericAlias(list, flights), "search_onestop_flight"),
        (str, "send_certificate"),
        (Literal[tuple(statuses)], "get_flight_status"),
    ]


def _retail_returns(model: ModuleType) -> list[tuple[Any, str]]:
    changes = "modify_pending_order_address modify_pending_order_items modify_pending_order_payment"
    others = "cancel_pending_order exchange_delivered_order_items return_delivered_order_items"
    return [
        (model.Order, f"get_order_details {changes} {others}"),
        (model.User, "get_user_details modify_user_address"),
        (model.Product, "get_product_details"),
        (dict[str, str], "list_all_product_types"),
        (str, "find_user_id_by_email find_user_id_by_name_zip"),
    ]


def _schema(kind: Any) -> dict[str, Any]:
    schema = TypeAdapter(kind).json_schema(mode="serialization")
    inlined: dict[str, Any] = _inline(schema, schema.pop("$defs", {}))
    return inlined


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    """The same schema with references inlined and titles and defaults removed, so that its properties can be read
    directly; all of them are required, because the tools return every field."""
    if isinstance(schema, list):
        return [_inline(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]] | schema
    inlined = {
        key: {name: _inline(part, definitions) for name, part in value.items()}
        if key == "properties"
        else _inline(value, definitions)
        for key, value in schema.items()
        if key not in ("$ref", "title", "default")
    }
    return inlined | ({"required": list(inlined["properties"])} if "properties" in inlined else {})


def policy_text(domain: Tau2Domain) -> str:
    """The policy that the benchmark's agent reads, verbatim. Raises UserError without the package."""
    return _path(domain, "policy.txt").read_text(encoding="utf-8").strip()


def _module(name: str) -> ModuleType:
    try:
        return import_module(f"inspect_evals.tau2.{name}")
    except ModuleNotFoundError as error:
        raise UserError(
            f"a τ² domain was requested, but {error.name} is not installed; expected: inspect-evals, installed by "
            "pip install -e '.[eval]'"
        ) from None


def _path(domain: Tau2Domain, name: str) -> Path:
    folder: Path = _module("utils").TAU2_DATA_DIR / "domains" / domain.name
    return folder / name


def _read(domain: Tau2Domain, name: str) -> Any:
    path = _path(domain, name)
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
