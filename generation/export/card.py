"""The dataset card of an export on the Hugging Face hub."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from generation.export.formats import Format
from generation.export.report import Report
from generation.export.sft import FOLDERS
from generation.metrics.statistics import MeanMax

TITLE = "User-oriented tool-use dialogues"

_HUB_LICENCE = re.compile(r"(apache-2\.0|mit|cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-\d\.\d|odc-by|odbl|gpl-3\.0|bsd-3-clause)")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def render_card(report: Report, form: Format, package: str, packages: Mapping[str, str]) -> str:
    """README.md of an export: its dialogues are in the format `form`, its tasks in the package `package`; `packages`
    maps the generation run's packages to their versions."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= {"spread": _spread, "counts": _counts, "tojson": partial(json.dumps, ensure_ascii=False)}
    kept = {name: counts.kept for name, counts in report.pipelines.items() if counts.kept}
    return environment.get_template("card.md.j2").render(
        report=report,
        title=TITLE,
        pipelines=list(kept),
        folder=FOLDERS[form],
        files={"openai": "{}.parquet", "traces": "{}/*.jsonl"}.get(form, "{}.jsonl"),
        package=package,
        licences=sorted({hub_licence(source.licence) for source in report.provenance.sources}),
        size=next((name for limit, name in _SIZES if sum(kept.values()) < limit), "n>1M"),
        packages=packages,
        validation=_validation(report),
    )


def hub_licence(licence: str) -> str:
    """The hub's identifier for a licence as named by a seed; "other" if the hub has none."""
    identifier = "-".join(licence.casefold().split())
    return identifier if _HUB_LICENCE.fullmatch(identifier) else "other"


def _validation(report: Report) -> str:
    if not report.unvalidated:
        return (
            "All dialogues passed validation: by replaying their calls where tools are executed, by a judge otherwise."
        )
    return f"**{report.unvalidated:,} of the dialogues were not validated.**"


def _spread(value: MeanMax) -> str:
    return f"{value.mean:.2f} ({value.max})"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items()) or "none"
