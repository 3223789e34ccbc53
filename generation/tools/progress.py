"""Console output of tool making: the text of its bar, the table of tools, and the domains that were lost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich import box
from rich.markup import escape
from rich.table import Table

from generation.llm.meter import Meter, bad_answers
from generation.tools.toolset import Toolset


@dataclass
class ToolCounts:
    """What a bar says, up to date whenever it is drawn: the tools so far, and each role's requests and bad answers.
    Only the meters of domains in progress are read then; finished ones are in the sums."""

    tools: int = 0
    _meters: dict[str, Meter] = field(default_factory=dict)
    _requests: Counter[str] = field(default_factory=Counter)
    _retries: Counter[str] = field(default_factory=Counter)
    _flaws: Counter[str] = field(default_factory=Counter)

    def begin(self, domain: str, meter: Meter) -> None:
        self._meters[domain] = meter

    def finish(self, toolset: Toolset) -> None:
        self.tools += len(toolset.tools)
        if meter := self._meters.pop(toolset.domain, None):
            self._requests += _requests(meter)
            self._retries += meter.retries
            self._flaws += meter.flaws

    def __str__(self) -> str:
        meters = self._meters.values()
        requests = sum(map(_requests, meters), self._requests)
        retries = sum((meter.retries for meter in meters), self._retries)
        flaws = sum((meter.flaws for meter in meters), self._flaws)
        parts = [f"{self.tools} tools"]
        for role in sorted(requests, reverse=True):
            retried = f"{retries[role]} retries" if retries[role] else ""
            parts.append(
                ", ".join(filter(None, (f"{role} {requests[role]} requests", retried, bad_answers(flaws, role))))
            )
        return " · ".join(parts)


def _requests(meter: Meter) -> Counter[str]:
    return Counter({role: usage.requests for role, usage in meter.usage.roles.items()})


def tools_table(toolsets: Sequence[Toolset], per_domain: bool) -> Table:
    """Valid and refused tools and the counts of their generation, per domain or only in total."""
    table = Table(title="Tools", box=box.SIMPLE_HEAD, pad_edge=False, show_footer=per_domain and len(toolsets) > 1)
    total = _row(f"{len(toolsets)} domain{'s' * (len(toolsets) > 1)}", toolsets)
    for heading, footer in zip(("", "tools", "refused", "counts"), total, strict=True):
        table.add_column(heading, footer=footer, justify="right" if heading in ("tools", "refused") else "left")
    domains = [_row(_label(toolset), [toolset]) for toolset in toolsets] if per_domain else []
    for row in domains or [total]:
        table.add_row(*row)
    return table


def _label(toolset: Toolset) -> str:
    """The domain, with its title if that is another one."""
    same = toolset.called == toolset.domain.replace("_", " ")
    return escape(toolset.domain if same else f"{toolset.domain} ({toolset.called})")


def _row(name: str, toolsets: Sequence[Toolset]) -> tuple[str, str, str, str]:
    counts: Counter[str] = Counter()
    for toolset in toolsets:
        counts.update(toolset.counts)
    tools, refused = sum(len(toolset.tools) for toolset in toolsets), sum(len(toolset.refused) for toolset in toolsets)
    # The kept ones are the tools themselves, and zeros would fill the table.
    shown = [f"{kind.replace('_', ' ')} {count}" for kind, count in counts.items() if count and kind != "kept"]
    return name, f"{tools:,}", f"{refused:,}", ", ".join(shown) or "-"


def lost_domains(toolsets: Sequence[Toolset], most: int) -> Table:
    """The domains without tools, at most `most` of them: why each one was left out, and why most of its tools were
    refused."""
    table = Table(title="Domains left out", box=box.SIMPLE_HEAD, pad_edge=False, style="yellow")
    for heading in ("domain", "reason", "most frequent problem"):
        table.add_column(heading)
    lost = [toolset for toolset in toolsets if not toolset.tools]
    for toolset in lost[:most]:
        table.add_row(_label(toolset), escape(why_lost(toolset)), escape(_most_frequent(toolset.refused[:-1])))
    if len(lost) > most:
        table.add_row(f"and {len(lost) - most} more", "see toolsets.jsonl", "")
    return table


def unserved_parts(toolsets: Sequence[Toolset], most: int) -> Table:
    """What of the databases was left out, at most `most` parts, each with the reason."""
    table = Table(title="Left out of the databases", box=box.SIMPLE_HEAD, pad_edge=False, style="yellow")
    for heading in ("domain", "left out"):
        table.add_column(heading)
    parts = [(_label(toolset), part) for toolset in toolsets for part in toolset.left_out]
    for domain, part in parts[:most]:
        table.add_row(domain, escape(part))
    if len(parts) > most:
        table.add_row(f"and {len(parts) - most} more", "see toolsets.jsonl")
    return table


def why_lost(toolset: Toolset) -> str:
    """Why a domain has no tools."""
    return toolset.refused[-1] if toolset.refused else "it has no tools"


def _most_frequent(reasons: Sequence[str]) -> str:
    """The problem that most of the reasons state, whatever tool each is about, and how many do."""
    problems = Counter(_problem(reason) for reason in reasons)
    if not problems:
        return ""
    ((problem, count),) = problems.most_common(1)
    return f"{problem} ({count} of {len(reasons)})"


def _problem(reason: str) -> str:
    """A reason without the name before it ("get_order: …", "batch 2: …")."""
    return re.sub(r"^['\"]?[\w ]{1,70}['\"]?: ", "", reason)
