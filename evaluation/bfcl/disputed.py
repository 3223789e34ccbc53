"""BFCL tasks that no answer can pass which follows the tools as the task states them (bfcl-eval 2026.3.23).

They count in every official score, as officially. The undisputed scores next to those leave them out.
`evaluation.known_answers.bfcl_disputes` derives the list from the official data, and `make eval-known` and a test
compare the two. Of the rejected ones, `make eval-known` shows that even the ground truth fails.
"""

from __future__ import annotations

REJECTED = "the official checker rejects every answer"
WRONG_TYPE = "every accepted call has an argument that is not of the type that its tool states"
NOT_IN_ENUM = "every accepted call has an argument that is not in the enum that its tool states"
CONTRADICTED = "another task with the same prompt and tools accepts only what this one refuses"
NOT_OFFERED = "the ground truth calls a tool before it is offered"

DISPUTED: dict[str, str] = {
    task: reason
    for reason, tasks in {
        REJECTED: (
            "simple_java_36",
            "simple_java_64",
            "simple_java_65",
            "live_simple_106-63-0",
            "live_simple_112-68-0",
            "live_multiple_862-181-3",
            "live_multiple_964-207-0",
        ),
        WRONG_TYPE: (
            "parallel_multiple_21",
            "live_multiple_552-153-1",
            "live_multiple_595-158-1",
            "live_multiple_596-158-2",
            "live_multiple_731-167-2",
            "live_multiple_733-167-4",
            "live_multiple_735-167-6",
            "live_multiple_1038-265-0",
            "multi_turn_base_173",
            "multi_turn_miss_func_173",
            "multi_turn_miss_param_173",
            "multi_turn_long_context_173",
        ),
        NOT_IN_ENUM: (
            "live_multiple_87-38-4",
            "live_multiple_750-169-5",
            "live_multiple_835-178-10",
            "live_multiple_871-182-8",
            "live_multiple_947-197-0",
            "live_parallel_multiple_2-2-0",
        ),
        CONTRADICTED: (
            "live_simple_29-7-2",
            "live_simple_176-102-0",
            "live_multiple_262-125-1",
            "live_irrelevance_118-7-8",
            "live_irrelevance_565-173-0",
            "live_irrelevance_567-175-0",
        ),
        NOT_OFFERED: ("multi_turn_miss_func_49",),
    }.items()
    for task in tasks
}
"""Reason by task id."""

UNSATISFIABLE = frozenset(task for task, reason in DISPUTED.items() if reason == REJECTED)
"""Tasks that even their own ground truth fails."""
