"""An audit (training.audit) as text: a table of the ways of training, and the first difference of each."""

from __future__ import annotations

from collections.abc import Mapping

from training.audit import Audit, Difference, WayAudit
from training.audit_ways import MASK


def audit_text(audit: Audit, data: str, model: str, unread: Mapping[str, int]) -> str:
    """Text in Markdown. `unread` counts dialogues that could not be read, by kind of fault."""
    lines = [
        "# Contexts that a server never renders",
        "",
        f"{audit.dialogues} dialogues of {data} with the chat template of {model}: {audit.answers} answers, "
        f"{audit.answer_tokens:,} tokens as served.",
        *([f"{audit.refused} dialogues were left out; the first: {audit.refusal}"] if audit.refused else []),
        *(f"{count} dialogues could not be read: {kind}" for kind, count in unread.items()),
        *([] if audit.markers else [f"{MASK}: the template has no generation markers; answers were located instead."]),
        "",
        "| way of training | trained tokens | never served | share | of the prompt | answers trained | affected |",
        "|---|---|---|---|---|---|---|",
        *map(_row, audit.ways),
        "",
        *(f"- **{way.way}**: {way.description}." for way in audit.ways),
        "- never served: tokens whose context is no prompt of a server, followed by what was written of that answer.",
        "- of the prompt: trained, although the prompt already has them (<think>, where the template opens the thought).",
    ]
    for way in audit.ways:
        if way.first:
            lines += ["", f"## {way.way}: the first difference", "", *_shown(way.first)]
    return "\n".join(lines) + "\n"


def _row(way: WayAudit) -> str:
    return (
        f"| {way.way} | {way.trained_tokens:,} | {way.unserved_tokens:,} | {100 * way.share:.1f} % "
        f"| {way.prompt_tokens:,} | {way.answers:,} | {way.affected_answers:,} |"
    )


def _shown(first: Difference) -> list[str]:
    """The texts with their line breaks and blanks made visible."""
    return [
        f"Dialogue {first.dialogue_id}, before or in the answer of message {first.message}:",
        "",
        "```",
        f"in both  …{first.before!r}",
        f"trained  {first.trained!r}…",
        f"served   {first.served!r}…",
        "```",
    ]
