"""The stand-in's tool maker for domains without a database: questions, the tools they need, and tools still missing.
It also names domains of any kind.

It invents the usual tools around a domain's entities and, now and then, what a weak model would: repeated, renamed and
trivial tools, and prose around the JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from random import Random
from typing import Any

from core.messages import ToolSpec
from generation.llm.contexts import DomainContext, ExpansionContext, QuestionsContext, ToolSpecsContext
from generation.specs.naming import entity_words
from generation.specs.spelling import plural, singular, snake, words
from generation.specs.titles import table_nouns, title_of, tool_nouns

Spec = dict[str, Any]

_QUESTIONS = (
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
_PARTNER = "customer"  # a second entity for domains with only one, so that tools can chain


def domain(context: DomainContext) -> str:
    """A title and a description from the nouns in the names of tables or tools."""
    tables = context.schema.tables if context.schema else ()
    nouns = table_nouns(table.name for table in tables) or tool_nouns(context.tools) or ["request"]
    kept = " and ".join(dict.fromkeys((plural(nouns[0]), plural(nouns[-1]))))
    name = {"title": title_of(context.hint, nouns), "description": f"It keeps records of {kept}, and changes them."}
    return json.dumps(name, ensure_ascii=False)


def questions(context: QuestionsContext, rng: Random) -> str:
    """`count` questions about the entities in the names of the tools."""
    entities = _entities(context.tools, context.domain)
    texts = []
    for number in range(context.count):
        entity = entities[number % len(entities)]
        values = {"one": words(entity), "many": words(plural(entity)), "name": rng.choice(_NAMES)}
        values |= {
            "date": f"{rng.randint(1, 28)} May",
            "number": str(rng.randint(100, 999)),
            "field": rng.choice(_FIELDS),
        }
        texts.append(rng.choice(_QUESTIONS).format(**values))
    return _written(texts, rng)


def specs(context: ToolSpecsContext, rng: Random) -> str:
    """Tools around the entity that the question names, with identifiers of the types that the existing tools use."""
    entities = _entities(context.tools, context.domain)
    entity = next(
        (t for t in entities if re.search(rf"\b{words(t)}|\b{words(plural(t))}", context.question)), entities[0]
    )
    partner = next((other for other in entities if other != entity), _PARTNER)
    kinds = _id_types(context.tools)
    field = next((name for name in _FIELDS if name in context.question), "status")
    wanted = [
        _search(entity, partner, kinds),
        _get(entity, kinds),
        rng.choice([_update(entity, field, kinds), _create(entity, partner, kinds)]),
    ]
    if rng.random() < 0.3:
        wanted.append(rng.choice([_clock(), _renamed(entity, kinds), _vague(entity)]))
    return _written(wanted, rng)


def expansion(context: ExpansionContext, rng: Random) -> str:
    """The usual tools around the entities that the set lacks, and some that it does not need."""
    existing = {tool.name for tool in context.tools}
    entities, kinds = _entities(context.tools, context.domain), _id_types(context.tools)
    missing = []
    for entity in entities:
        partner = next((other for other in entities if other != entity), _PARTNER)
        usual = (
            _get(entity, kinds),
            _search(entity, partner, kinds),
            _create(entity, partner, kinds),
            _delete(entity, kinds),
        )
        missing += [spec for spec in usual if spec["name"] not in existing]
    junk = [_clock(), _renamed(entities[0], kinds)]
    rng.shuffle(junk)
    return _written([*missing[: max(0, context.limit - 2)], *junk][: context.limit], rng)


def _written(items: Sequence[Any], rng: Random) -> str:
    """Items as JSON: tools in both notations that models use, sometimes with prose and a fence around them."""
    nested = rng.random() < 0.7
    shown = [{"type": "function", "function": item} if nested and isinstance(item, dict) else item for item in items]
    text = json.dumps(shown, ensure_ascii=False)
    return f"Here is what I suggest:\n```json\n{text}\n```" if rng.random() < 0.2 else text


def _entities(tools: Sequence[ToolSpec], domain: str) -> list[str]:
    """The tools' entities in the singular: order from order_id, else flight from search_flights_by_city."""
    entities: dict[str, None] = {}
    for tool in tools:
        parameters = [snake(name) for name in tool.parameters.get("properties", {})]
        named = [name.removesuffix("_id") for name in parameters if name.endswith("_id")]
        entities |= dict.fromkeys(singular(name) for name in (named or ["_".join(entity_words(tool.name))]) if name)
    return list(entities) or [singular(snake(domain)) or "record"]


def _id_types(tools: Sequence[ToolSpec]) -> dict[str, Any]:
    """Identifier -> its type in the first tool that declares it."""
    types: dict[str, Any] = {}
    for tool in tools:
        for name, schema in tool.parameters.get("properties", {}).items():
            if name.endswith("_id") and isinstance(schema, dict) and "type" in schema:
                types.setdefault(name, schema["type"])
    return types


def _spec(name: str, description: str, properties: dict[str, Any], required: Sequence[str]) -> Spec:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"name": name, "description": description, "parameters": parameters}


def _id(entity: str, kinds: dict[str, Any]) -> dict[str, Any]:
    name = f"{entity}_id"
    return {name: {"type": kinds.get(name, "integer"), "description": f"which {words(entity)}"}}


def _search(entity: str, partner: str, kinds: dict[str, Any]) -> Spec:
    options = _id(partner, kinds) | {"status": {"type": "string", "description": "only those with this status"}}
    return _spec(f"search_{plural(entity)}", f"Find the {words(plural(entity))} of one {words(partner)}.", options, [])


def _get(entity: str, kinds: dict[str, Any]) -> Spec:
    return _spec(f"get_{entity}", f"Get one {words(entity)} by its number.", _id(entity, kinds), [f"{entity}_id"])


def _update(entity: str, field: str, kinds: dict[str, Any]) -> Spec:
    properties = _id(entity, kinds) | {field: {"type": "string", "description": f"the new {field}"}}
    return _spec(
        f"update_{entity}_{field}", f"Change the {field} of one {words(entity)}.", properties, list(properties)
    )


def _create(entity: str, partner: str, kinds: dict[str, Any]) -> Spec:
    properties = _id(partner, kinds) | {"date": {"type": "string", "description": "YYYY-MM-DD"}}
    return _spec(f"create_{entity}", f"Add a {words(entity)} and return its number.", properties, list(properties))


def _delete(entity: str, kinds: dict[str, Any]) -> Spec:
    return _spec(f"delete_{entity}", f"Withdraw one {words(entity)} for good.", _id(entity, kinds), [f"{entity}_id"])


def _clock() -> Spec:
    return _spec("get_current_time", "Tell the current time.", {}, [])


def _renamed(entity: str, kinds: dict[str, Any]) -> Spec:
    return _spec(f"fetch_{entity}_details", f"Fetch a {words(entity)}.", _id(entity, kinds), [f"{entity}_id"])


def _vague(entity: str) -> Spec:
    return _spec(f"get_{entity}_overview", f"Something about every {words(entity)}.", {}, [])
