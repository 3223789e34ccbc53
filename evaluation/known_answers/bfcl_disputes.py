"""Derives from BFCL's own data which tasks accept no answer that follows the tools as the task states them.

Every rule compares the accepted answers with the specs that the model is shown; none needs a judgement. Tasks that the
official checker always rejects are known from replaying the ground truth instead (evaluation.bfcl.disputed.REJECTED).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from evaluation.bfcl.categories import IRRELEVANCE, MULTI_TURN, SIZES
from evaluation.bfcl.disputed import CONTRADICTED, NOT_IN_ENUM, NOT_OFFERED, UNSATISFIABLE, WRONG_TYPE
from evaluation.known_answers.bfcl_model import DOCS, PYTHON, parse_python_call, read_lines

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "float": (int, float),
    "number": (int, float),
    "boolean": bool,
    "array": (list, tuple),
    "tuple": (list, tuple),
    "dict": dict,
    "object": dict,
}
_AS_TEXT = ("simple_java", "simple_javascript")
"""Their arguments are literals of another language, always as text."""


def find(python: Path = PYTHON) -> dict[str, str]:
    """Reason by task id, without the tasks that are always rejected. `python` is the interpreter of the environment
    with the official package."""
    (data,) = python.absolute().parent.parent.glob("lib/python3*/site-packages/bfcl_eval/data")
    found = dict(_contradicted(data))
    for category in SIZES:
        path = data / f"BFCL_v4_{category}.json"
        answers = path.parent / "possible_answer" / path.name
        if not path.is_file() or not answers.is_file() or category in _AS_TEXT:
            continue
        check = _multi_turn if category in MULTI_TURN else _single_turn
        for entry, answer in zip(read_lines(path), read_lines(answers), strict=True):
            if reason := check(entry, answer["ground_truth"], data):
                found[entry["id"]] = reason
    return {task: reason for task, reason in found.items() if task not in UNSATISFIABLE}


def _single_turn(entry: Mapping[str, Any], truth: Iterable[Mapping[str, Any]], data: Path) -> str | None:
    """Accepted arguments are listed by parameter; "" stands for leaving an optional one out."""
    schemas = {tool["name"]: tool["parameters"] for tool in entry["function"]}
    for call in truth:
        ((name, parameters),) = call.items()
        for key, accepted in parameters.items():
            schema = schemas[name]["properties"].get(key, {})
            omittable = "" in accepted and key not in schemas[name].get("required", ())
            if schema and not omittable and (reason := _refused(accepted, schema)):
                return reason
    return None


def _multi_turn(entry: Mapping[str, Any], truth: Iterable[Iterable[str]], data: Path) -> str | None:
    """The ground truth is a list of Python calls for each turn."""
    docs = [DOCS[api] for api in entry["involved_classes"] if api in DOCS]
    tools = [tool for doc in docs for tool in read_lines(data / f"multi_turn_func_doc/{doc}.json")]
    schemas = {tool["name"]: tool["parameters"] for tool in tools}
    offered_at = {name: int(turn) for turn, names in entry.get("missed_function", {}).items() for name in names}
    for turn, calls in enumerate(truth):
        for text in calls:
            name, positional, named = parse_python_call(text)
            if turn < offered_at.get(name, 0):
                return NOT_OFFERED
            properties = schemas[name]["properties"]
            for key, value in (dict(zip(properties, positional, strict=False)) | named).items():
                if reason := _refused([value], properties[key]):
                    return reason
    return None


def _refused(accepted: Iterable[Any], schema: Mapping[str, Any]) -> str | None:
    """Why the schema allows none of the accepted values; None if it allows one."""
    typed = [value for value in accepted if _has_type(value, schema.get("type"))]
    if not typed:
        return WRONG_TYPE
    allowed = {_standardised(value) for value in schema.get("enum") or ()}
    # Some specs state the enum of an array's items at the array.
    items = [value if isinstance(value, list) else [value] for value in typed]
    return (
        NOT_IN_ENUM if allowed and not any(allowed.issuperset(map(_standardised, value)) for value in items) else None
    )


def _has_type(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind not in _TYPES or kind == "boolean"
    return isinstance(value, _TYPES.get(kind, object))


def _standardised(value: Any) -> str:
    """As the official checker compares texts."""
    return re.sub(r"[ ,./\-_*^]", "", str(value)).lower().replace("'", '"')


def _contradicted(data: Path) -> Iterator[tuple[str, str]]:
    """Tasks of the same prompt and tools of which one demands a call and the other none."""
    groups: dict[str, dict[bool, list[str]]] = defaultdict(lambda: defaultdict(list))
    for category in SIZES:
        path = data / f"BFCL_v4_{category}.json"
        for entry in read_lines(path) if path.is_file() and category not in MULTI_TURN else ():
            prompt = json.dumps([entry["question"], entry.get("function")], sort_keys=True)
            groups[prompt][category in IRRELEVANCE].append(entry["id"])
    for by_demand in groups.values():
        if len(by_demand) == 2:
            yield from ((task, CONTRADICTED) for tasks in by_demand.values() for task in tasks)
