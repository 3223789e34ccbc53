"""What names say: what a tool does, to which thing, and which field of a record identifies it."""

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

Deed = Literal[
    "search",
    "list",
    "rank",
    "see",
    "work out",
    "check",
    "turn",
    "create",
    "make",
    "set",
    "do",
    "delete",
    "end",
    "restore",
]
"""What a tool does: the first seven only read; "make" is to create in a way of its own (book, order), "do" to change otherwise,
"delete" takes a record away, "end" what it stands for (cancel)."""

_READING: tuple[Deed, ...] = ("search", "list", "rank", "see", "work out", "check", "turn")
_VERBS: dict[Deed, str] = {
    "search": "search find query browse",
    "list": "list",
    "rank": "top",
    "see": "get fetch retrieve lookup look show view read describe obtain",
    "work out": "count total calculate compute estimate compare",
    "check": "check verify validate is has track",
    "turn": "convert translate recommend suggest predict analyze think",
    "create": "create add insert new",
    "make": "book place open register make schedule submit reserve order post file generate start issue request enroll"
    " purchase buy",
    "set": "update set change edit modify rename patch put replace",
    "do": "move reschedule renew extend adjust send pay transfer return exchange refund assign approve confirm close apply"
    " upload share merge activate enable disable mark archive",
    "delete": "delete remove erase purge destroy drop",
    "end": "cancel revoke terminate unsubscribe deactivate",
    "restore": "restore undelete undo recover reinstate",
}
_DEED: dict[str, Deed] = {verb: deed for deed, verbs in _VERBS.items() for verb in verbs.split()}


@lru_cache(maxsize=4096)
def verb(tool: str) -> str:
    """The first word of a tool's name."""
    return snake(tool).partition("_")[0]


def deed(tool: str) -> Deed | None:
    """What a tool does, to judge by the verb that its name begins with (or is); None where it begins with another word."""
    return _DEED.get(verb(tool))


def changes(tool: str) -> bool:
    """Whether a tool's name says that it changes something: its first word is no verb of reading. A rule of thumb for tools
    that are only simulated; where they are executed the state says it."""
    return deed(tool) not in _READING


def creates(tool: str) -> bool:
    """Whether the name says that the tool makes a new record, whose identifier is news."""
    return deed(tool) in ("create", "make")


@lru_cache(maxsize=4096)
def subject(tool: str) -> Words:
    """What a tool is about, in the singular: get_customer_details -> (customer), list_film_copies_by_film_id -> (film, copy).
    Empty where the name has only a verb."""
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
    """Whether the name says where or what to (add_item_to_cart): its subject is then part of something else."""
    return any(word in _CONNECTIVES - {"by"} for word in snake(tool).split("_"))


@lru_cache(maxsize=16384)
def identifies(field: str) -> Words | None:
    """What a field identifies: film_copy_id, orderNumber, airport_code -> (film, copy), (order), (airport); the bare id or sku
    -> (); None for other fields. An e-mail address identifies nobody here, since it can change; neither do zip or currency
    codes, which many records share."""
    *stem, kind = snake(field).split("_")
    if kind not in _KINDS_OF_IDENTIFIER or (not stem and kind not in _BARE_IDENTIFIERS):
        return None
    if kind != "id" and stem and stem[-1] in _NO_IDENTIFIERS:
        return None
    return (*stem[:-1], singular(stem[-1])) if stem else ()


def is_identifier(field: str) -> bool:
    """Whether a field, or each member of a list under that name, says which record is meant."""
    return identifies(field) is not None or identifies(singular(field)) is not None


def bare_name(field: str, thing: Words) -> str:
    """A field's name without the thing that it is a field of: member_name of a member is its name."""
    return snake(field).removeprefix("_".join(thing) + "_")


def alike(one: Words, other: Words) -> bool:
    """Whether one is the end of the other: (account) and (from, account)."""
    shorter, longer = sorted((one, other), key=len)
    return bool(shorter) and longer[-len(shorter) :] == shorter


def own_identifier(fields: Iterable[str], about: Words, row: bool) -> str | None:
    """The field by which a record of what `about` names is known; None where the record has none of its own.

    A `row` of a list is identified by nothing but its own kind: an order's lines that repeat the order_id are not orders.
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
    """The name of a record, "order_id=7"; a bare id or sku takes its name from what it is about. None where nothing names it."""
    if identifies(field) == ():
        return f"{about[-1]}_{snake(field)}={value}" if about else None
    return f"{snake(field)}={value}"
