"""Output schemas predicted by the stand-in: errors are repaired, fields keep one type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.tools.output_schemas import predict_output_schemas
from generation.tools.toolset import Toolset
from tests.generation.helpers.schema_toolsets import COUNTED, tool, toolset
from tests.generation.helpers.schemas import obj

NAMES = ("get_{}", "search_{}s", "create_{}", "update_{}", "delete_{}", "list_{}s_by_city")


def _domain(number: int) -> Toolset:
    kind = ("integer", "string")[number % 2]
    noun = ("order", "user", "flight", "room")[number % 4]
    parameters = obj(**{f"{noun}_id": kind, "city": "string", "tags": {"type": "array", "items": {"type": "string"}}})
    return toolset(*(tool(name.format(noun), parameters) for name in NAMES)).model_copy(update={"domain": f"d{number}"})


def _typed_names(schema: Any) -> Iterator[tuple[str, str]]:
    """Naively: everything under "properties", with its type."""
    for name, part in schema.get("properties", {}).items():
        yield name, part["type"]
        yield from _typed_names(part)
    if "items" in schema:
        yield from _typed_names(schema["items"])


async def test_the_stand_in_errs_is_repaired_and_ends_with_one_type_per_field() -> None:
    totals = dict.fromkeys(COUNTED, 0)
    for number in range(20):
        made = await predict_output_schemas(_domain(number), Meter(ScriptedLLM(seed=1)), 3)
        assert [t.name for t in made.tools] == [t.name for t in _domain(number).tools]
        types: dict[str, set[str]] = {}
        for t in made.tools:
            assert t.returns is not None
            for name, kind in (*_typed_names(t.parameters), *_typed_names(t.returns)):
                types.setdefault(name, set()).add(kind)
        assert [name for name, found in types.items() if len(found) > 1] == []
        totals = {name: totals[name] + made.counts[name] for name in COUNTED}
    assert totals["schemas_predicted"] == 120
    assert 5 <= totals["schema_conflicts"] <= 40
    assert totals["schema_repairs"] == totals["schema_conflicts"]
    assert totals["schemas_dropped"] == 0


async def test_the_stand_in_is_plausible_and_the_same_for_the_same_seed() -> None:
    one, again, other = [await predict_output_schemas(_domain(0), Meter(ScriptedLLM(seed=s)), 3) for s in (7, 7, 8)]
    assert one.model_dump_json() == again.model_dump_json()
    assert one.model_dump_json() != other.model_dump_json()
    returns = {t.name: t.returns or {} for t in one.tools}
    assert returns["get_order"]["properties"]["order_id"]["type"] == "integer"
    assert returns["search_orders"]["items"]["properties"].keys() >= {"order_id", "city"}
    assert returns["list_orders_by_city"]["type"] == "array"
    assert "order_id" in returns["create_order"]["properties"]
    assert set(returns["delete_order"]["properties"]) == {"order_id", "status"}
