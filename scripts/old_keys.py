"""Config keys that were renamed: an old name is refused with an error that gives the new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

OLD_KEYS = {
    "density": "tasks_per_dialogue",
    "benchmarks.heldout.axes.density": "benchmarks.heldout.axes.tasks_per_dialogue",
    "benchmarks.heldout.base.density": "benchmarks.heldout.base.tasks_per_dialogue",
    "attempts.lost_in_a_row": "attempts.unanswered_in_a_row",
    "seeds": "domains",
    "seeds.domains": "domains.names",
    "domains.databases": "domains.names",
    "pipelines.*.rollout.bad_calls": "pipelines.*.rollout.invalid_calls",
    "benchmarks.heldout.rollout.bad_calls": "benchmarks.heldout.rollout.invalid_calls",
    "heldout_dialogues": "benchmarks.heldout.dialogues",
    "benchmarks.heldout.partner": "benchmarks.heldout.simulator",
    "dialogue_steps": "benchmarks.tau2.max_steps",
    "simulator": "+benchmarks.tau2.user.base_url",
    "simulator_model": "+benchmarks.tau2.user.model",
    "mixture.skip_unlawful": "mixture.skip_invalid",
    "plan.*": "assume.*",
    "assume.keys": "assume.keys_per_token",
    "assume.trained": "assume.trained_share",
}
"""Old key -> new key. Nested keys keep their last part (seeds.root -> domains.root); `*` matches one part."""

OLD_EVALUATION_KEYS = {"domains": "benchmarks.tau2.domains"}
"""Old keys of conf/evaluate.yaml whose names are valid in another stage; they apply where eval is the only stage."""


def renamed_override(key: str, package: str | None, line: str, stages: Sequence[str]) -> str | None:
    """Return the error for an override (`key@package=value` in `line`) whose key or package was renamed, else None."""
    new_key = new_name(key, OLD_KEYS)
    if not new_key and not package and list(stages) == ["eval"]:
        new_key = new_name(key, OLD_EVALUATION_KEYS)
    new_package = new_name(package, OLD_KEYS) if package else None
    if not new_key and not new_package:
        return None
    address = f"@{new_package or package}" if package else ""
    old, equals, value = line.partition("=")
    return f"config key {old!r} was renamed: give {new_key or key}{address}{equals}{value}"


def new_name(key: str, renamed: Mapping[str, str]) -> str | None:
    """Return the new name of a dotted key, or None if neither it nor a parent was renamed; the longest match wins."""
    parts = key.split(".")
    for old, new in sorted(renamed.items(), key=lambda pair: -pair[0].count(".")):
        pattern = old.split(".")
        if len(pattern) <= len(parts) and all(a in ("*", b) for a, b in zip(pattern, parts, strict=False)):
            wild = iter(part for place, part in zip(pattern, parts, strict=False) if place == "*")
            named = [next(wild) if part == "*" else part for part in new.split(".")]
            return ".".join([*named, *parts[len(pattern) :]])
    return None
