"""The stand-in's tool maker for domains without a database: questions, the tools they need, and what is still missing.

It invents the usual tools around the things that a domain is about, and now and then what a weak model would: repeated,
renamed and trivial ones, and prose around the JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from random import Random
from typing import Any

from core.messages import ToolSpec
from generation.llm.contexts import ExpansionContext, QuestionsContext, ToolSpecsContext
from generation.specs.naming import entity_words
from generation.specs.spelling import plural, singular, snake, words

Spec = dict[str, Any]

_ASK = (
    "Which {many} are there for {name}, and what does the first of them say about its {field}?",
    "Please find the {one} of {name} and change its {field}.",
    "I need a new {one} for {name}. Tell me its number when it is done.",
    "How many {many} does {name} have since {date}?",
    "My {one} has the number {number}: is its {field} still what I was told on {date}?",
    "{name} wants to move every {one} from {date} to another day, but only those whose {field} is still open.",
    "Compare the {many} of {name} with the {one} number {number} and keep the cheaper one.",
    "Something went wrong with {one} {number}; withdraw it and set up the same {one} again.",
)
_NAMES = ("Ada Moreno", "Jon Aldous", "Mira Castell", "Tom Okafor", "my sister", "our office in Graz")
_FIELDS = ("status", "date", "note", "priority")
_PARTNER = "customer"  # a second thing for domains that speak of one only, so that tools can chain


def questions(context: QuestionsContext, rng: Random) -> str:
    """`count` questions about the things that the tools' names tell of."""
    things = _things(context.tools, context.domain)
    asked = []
    for number in range(context.count):
        thing = things[number % len(things)]
        values = {"one": words(thing), "many": words(plural(thing)), "name": rng.choice(_NAMES)}
        values |= {
            "date": f"{rng.randint(1, 28)} May",
            "number": str(rng.randint(100, 999)),
            "field": rng.choice(_FIELDS),
        }
        asked.append(rng.choice(_ASK).format(**values))
    return _written(asked, rng)


def specs(context: ToolSpecsContext, rng: Random) -> str:
    """Tools around the thing that the question names, in the types of those there are."""
    things = _things(context.tools, context.domain)
    thing = next((t for t in things if re.search(rf"\b{words(t)}|\b{words(plural(t))}", context.question)), things[0])
    partner = next((other for other in things if other != thing), _PARTNER)
    kinds = _id_types(context.tools)
    field = next((name for name in _FIELDS if name in context.question), "status")
    wanted = [
        _search(thing, partner, kinds),
        _get(thing, kinds),
        rng.choice([_update(thing, field, kinds), _create(thing, partner, kinds)]),
    ]
    if rng.random() < 0.3:
        wanted.append(rng.choice([_clock(), _renamed(thing, kinds), _vague(thing)]))
    return _written(wanted, rng)


def expansion(context: ExpansionContext, rng: Random) -> str:
    """What the set lacks of the usual tools around its things, and some that it does not need."""
    there = {tool.name for tool in context.tools}
    things, kinds = _things(context.tools, context.domain), _id_types(context.tools)
    missing = []
    for thing in things:
        partner = next((other for other in things if other != thing), _PARTNER)
        usual = (
            _get(thing, kinds),
            _search(thing, partner, kinds),
            _create(thing, partner, kinds),
            _delete(thing, kinds),
        )
        missing += [spec for spec in usual if spec["name"] not in there]
    junk = [_clock(), _renamed(things[0], kinds)]
    rng.shuffle(junk)
    return _written([*missing[: max(0, context.limit - 2)], *junk][: context.limit], rng)


def _written(items: Sequence[Any], rng: Random) -> str:
    """Tools in both ways that models write them, and every now and then prose and a fence around the JSON."""
    nested = rng.random() < 0.7
    shown = [{"type": "function", "function": item} if nested and isinstance(item, dict) else item for item in items]
    text = json.dumps(shown, ensure_ascii=False)
    return f"Here is what I suggest:\n```json\n{text}\n```" if rng.random() < 0.2 else text


def _things(tools: Sequence[ToolSpec], domain: str) -> list[str]:
    """What the tools are about, in the singular: order from order_id, else flight from search_flights_by_city."""
    found: dict[str, None] = {}
    for tool in tools:
        parameters = [snake(name) for name in tool.parameters.get("properties", {})]
        named = [name.removesuffix("_id") for name in parameters if name.endswith("_id")]
        found |= dict.fromkeys(singular(name) for name in (named or ["_".join(entity_words(tool.name))]) if name)
    return list(found) or [singular(snake(domain)) or "record"]


def _id_types(tools: Sequence[ToolSpec]) -> dict[str, Any]:
    """Identifier -> the type that some tool gives it."""
    types: dict[str, Any] = {}
    for tool in tools:
        for name, schema in tool.parameters.get("properties", {}).items():
            if name.endswith("_id") and isinstance(schema, dict) and "type" in schema:
                types.setdefault(name, schema["type"])
    return types


def _spec(name: str, description: str, properties: dict[str, Any], required: Sequence[str]) -> Spec:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"name": name, "description": description, "parameters": parameters}


def _id(thing: str, kinds: dict[str, Any]) -> dict[str, Any]:
    name = f"{thing}_id"
    return {name: {"type": kinds.get(name, "integer"), "description": f"which {words(thing)}"}}


def _search(thing: str, partner: str, kinds: dict[str, Any]) -> Spec:
    options = _id(partner, kinds) | {"status": {"type": "string", "description": "only those with this status"}}
    return _spec(f"search_{plural(thing)}", f"Find the {words(plural(thing))} of one {words(partner)}.", options, [])


def _get(thing: str, kinds: dict[str, Any]) -> Spec:
    return _spec(f"get_{thing}", f"Get one {words(thing)} by its number.", _id(thing, kinds), [f"{thing}_id"])


def _update(thing: str, field: str, kinds: dict[str, Any]) -> Spec:
    properties = _id(thing, kinds) | {field: {"type": "string", "description": f"the new {field}"}}
    return _spec(f"update_{thing}_{field}", f"Change the {field} of one {words(thing)}.", properties, list(properties))


def _create(thing: str, partner: str, kinds: dict[str, Any]) -> Spec:
    properties = _id(partner, kinds) | {"date": {"type": "string", "description": "YYYY-MM-DD"}}
    return _spec(f"create_{thing}", f"Add a {words(thing)} and return its number.", properties, list(properties))


def _delete(thing: str, kinds: dict[str, Any]) -> Spec:
    return _spec(f"delete_{thing}", f"Withdraw one {words(thing)} for good.", _id(thing, kinds), [f"{thing}_id"])


def _clock() -> Spec:
    return _spec("get_current_time", "Tell the current time.", {}, [])


def _renamed(thing: str, kinds: dict[str, Any]) -> Spec:
    return _spec(f"fetch_{thing}_details", f"Fetch a {words(thing)}.", _id(thing, kinds), [f"{thing}_id"])


def _vague(thing: str) -> Spec:
    return _spec(f"get_{thing}_overview", f"Something about every {words(thing)}.", {}, [])
