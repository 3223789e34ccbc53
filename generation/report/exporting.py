"""What an export of a generation run contributes: dialogues removed, by reason, and items shared with benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from core.page.contents import Block, Notice, Section, Table
from generation.export.report import Report
from generation.report.content import number, share, table


def export_section(directory: Path) -> Section:
    """The section of a finished export, from its report.json. A report that this version cannot read gives a warning.
    Raises OSError if there is none."""
    path = directory / "report.json"
    try:
        report = Report.model_validate_json(path.read_bytes())
    except ValidationError:
        problem = Notice(level="warning", text=f"{path} is that of another version and cannot be read.")
        return Section(key="export", title="Export", blocks=(problem,))
    blocks: list[Block] = [*_removals(report), *_contamination(report)]
    if report.unvalidated:
        unvalidated = f"{report.unvalidated:,} exported dialogues were not validated."
        blocks.insert(0, Notice(level="warning", text=unvalidated))
    return Section(key="export", title="Export", blocks=tuple(blocks))


def _removals(report: Report) -> list[Table]:
    rows: list[tuple[tuple[str, ...], dict[str, str]]] = []
    for name, counts in report.pipelines.items():
        rows.append(((name, "read", number(counts.read), "100.0%"), {"pipeline": name}))
        for why, removed in counts.removed.items():
            rows.append(((name, f"removed: {why}", f"−{removed:,}", share(removed, counts.read)), {}))
        rows.append(((name, "kept", number(counts.kept), share(counts.kept, counts.read)), {}))
    return table("Exported dialogues", ("pipeline", "step", "dialogues", "of the read"), rows, labels=2)


def _contamination(report: Report) -> Iterator[Table]:
    for name, benchmark in report.contamination.items():
        found = table(
            f"Shared with {name} {benchmark.version}",
            ("kind", "looked for", "dialogues that share one", "these are", "for example"),
            (
                (
                    (
                        kind,
                        number(benchmark.looked_for.get(kind, 0)),
                        number(shared.dialogues),
                        "removed" if shared.policy == "drop" else "kept",
                        "; ".join(f"{e.dialogue_id}: {e.what} ({e.of})" for e in shared.examples[:1]),
                    ),
                    {},
                )
                for kind, shared in benchmark.kinds.items()
            ),
            note=f"Generated from the benchmark's own tools, so not counted: {benchmark.in_domain:,} dialogues."
            if benchmark.in_domain
            else "",
        )
        yield from (shown.model_copy(update={"numeric": (1, 2)}) for shown in found)
