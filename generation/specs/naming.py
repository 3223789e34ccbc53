"""What names reveal: what a tool does, to which entity, and which field identifies a record."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from generation.specs.spelling import singular, snake

Words = tuple[str, ...]

_CONNECTIVES = {"by", "for", "from", "to", "in", "on", "with", "at", "into", "per", "via", "using", "between", "near"}
_LEADING = {"all", "my", "the", "a", "an"}
_TRAILING = {"detail", "info", "information", "data", "record", "profile", "summary", "overview", "list"}
_TRAILING |= {"status", "state", "balance", "count", "total", "amount"}
_BARE_IDENTIFIERS = {"id", "uuid", "sku", "key"}
_KINDS_OF_IDENTIFIER = _BARE_IDENTIFIERS | {"number", "code", "no"}
_NO_IDENTIFIERS = {
    "phone",
    "fax",
    "mobile",
    "house",
    "zip",
    "postal",
    "post",
    "country",
    "currency",
    "language",
    "line",
}
_NO_IDENTIFIERS |= {"status", "error", "area", "dial", "total", "page", "seat", "row", "version"}
_NO_IDENTIFIERS |= {"api", "access", "secret", "sort", "search"}

Action = Literal[
    "search",
    "list",
    "rank",
    "get",
    "compute",
    "check",
    "convert",
    "create",
    "book",
    "update",
    "act",
    "delete",
    "cancel",
    "restore",
]
"""What a tool does. The first seven only read. "create" and "book" (also order, register, submit) add a record,
"update" sets fields of one, "act" changes it in another way (move, pay), "delete" removes the record, "cancel" ends
what it represents."""

_READING: tuple[Action, ...] = ("search", "list", "rank", "get", "compute", "check", "convert")
_VERBS: dict[Action, str] = {
    "search": "search find query browse",
    "list": "list",
    "rank": "top",
    "get": "get fetch retrieve lookup look show view read describe obtain",
    "compute": "count total calculate compute estimate compare",
    "check": "check verify validate is has track",
    "convert": "convert translate recommend suggest predict analyze think",
    "create": "create add insert new",
    "book": "book place open register make schedule submit reserve order post file generate start issue request enroll"
    " purchase buy",
    "update": "update set change edit modify rename patch put replace",
    "act": "move reschedule renew extend adjust send pay transfer return exchange refund assign approve confirm close"
    " apply upload share merge activate enable disable mark archive",
    "delete": "delete remove erase purge destroy drop",
    "cancel": "cancel revoke terminate unsubscribe deactivate",
    "restore": "restore undelete undo recover reinstate",
}
_ACTIONS: dict[str, Action] = {verb: kind for kind, verbs in _VERBS.items() for verb in verbs.split()}


@lru_cache(maxsize=4096)
def verb(tool: str) -> str:
    """The first word of a tool's name."""
    return snake(tool).partition("_")[0]


def action(tool: str) -> Action | None:
    """What a tool does, judging by the verb at the start of its name; None if its first word is not a known verb."""
    return _ACTIONS.get(verb(tool))


def changes(tool: str) -> bool:
    """Whether a tool's name suggests that it changes something: its first word is not a reading verb. A heuristic for
    simulated tools; for executed tools the state shows it."""
    return action(tool) not in _READING


def creates(tool: str) -> bool:
    """Whether the name says that the tool creates a record, which gets a new identifier."""
    return action(tool) in ("create", "book")


@lru_cache(maxsize=4096)
def entity_words(tool: str) -> Words:
    """The entity that a tool's name is about, in the singular: get_customer_details -> (customer),
    list_film_copies_by_film_id -> (film, copy). Empty if the name is only a verb."""
    words: list[str] = []
    for word in snake(tool).split("_")[1:]:
        if word in _CONNECTIVES:
            break
        if words or word not in _LEADING:
            words.append(singular(word))
    while len(words) > 1 and words[-1] in _TRAILING:
        words.pop()
    return () if len(words) == 1 and words[0] in _TRAILING - {"list"} else tuple(words)


@lru_cache(maxsize=4096)
def connected(tool: str) -> bool:
    """Whether the name has a connective (add_item_to_cart): its entity is then part of another one."""
    return any(word in _CONNECTIVES - {"by"} for word in snake(tool).split("_"))


@lru_cache(maxsize=16384)
def identifies(field: str) -> Words | None:
    """The entity that a field identifies: film_copy_id, orderNumber, airport_code -> (film, copy), (order), (airport);
    a bare id or sku -> (); None for other fields. E-mail addresses do not count, since they can change; nor do zip or
    currency codes, which many records share."""
    *stem, kind = snake(field).split("_")
    if kind not in _KINDS_OF_IDENTIFIER or (not stem and kind not in _BARE_IDENTIFIERS):
        return None
    if kind != "id" and stem and stem[-1] in _NO_IDENTIFIERS:
        return None
    return (*stem[:-1], singular(stem[-1])) if stem else ()


def is_identifier(field: str) -> bool:
    """Whether a field, or each item of a list with that name, identifies a record."""
    return identifies(field) is not None or identifies(singular(field)) is not None


def bare_name(field: str, entity: Words) -> str:
    """A field's name without the entity that it belongs to: a member's member_name is its name."""
    return snake(field).removeprefix("_".join(entity) + "_")


def alike(one: Words, other: Words) -> bool:
    """Whether one is a suffix of the other: (account) and (from, account)."""
    shorter, longer = sorted((one, other), key=len)
    return bool(shorter) and longer[-len(shorter) :] == shorter


def own_identifier(fields: Iterable[str], about: Words, row: bool) -> str | None:
    """The field that identifies a record of the entity `about`; None if the record has no identifier.

    A `row` of a list is identified only by its own entity: an order's lines that repeat the order_id are not orders.
    """
    stems = {field: stem for field in fields if (stem := identifies(field)) is not None}
    if not about:
        return next((field for field, stem in stems.items() if stem), None) if not row else None
    for field, stem in stems.items():
        if stem in ((), about):
            return field
    for field, stem in stems.items():
        if alike(stem, about) or (not row and stem[-1] in about):
            return field
    return None


def identifier_key(field: str, value: str | int, about: Words) -> str | None:
    """A record's key, "order_id=7"; a bare id or sku is prefixed with its entity `about`. None if there is no
    entity."""
    if identifies(field) == ():
        return f"{about[-1]}_{snake(field)}={value}" if about else None
    return f"{snake(field)}={value}"
