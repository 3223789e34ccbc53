"""The numbers of arXiv 2601.08225 that ours are compared with, as the paper prints them."""

from __future__ import annotations

TABLE_1 = (
    # pipeline, source, step, turn, task as mean (max), samples
    ("task-oriented", "Nemotron", "3.95 (89)", "12.84 (178)", "1.63 (18)", 161_608),
    ("user-oriented", "Nemotron", "3.45 (121)", "21.79 (596)", "2.48 (20)", 177_375),
    ("user-oriented", "Tau2", "3.05 (63)", "36.16 (780)", "3.02 (20)", 4_138),
    ("user-oriented + execution", "Tau2", "2.43 (23)", "17.15 (294)", "1.60 (10)", 2_174),
    ("user-oriented + execution", "SQL", "3.74 (322)", "30.85 (680)", "1.86 (11)", 16_618),
)

TABLE_2_COLUMNS = ("MT", "live", "non-live", "rel", "irrel", "airline", "retail", "telecom")
"""BFCL: multi-turn, live, non-live, relevance, irrelevance; τ²-bench: its three domains."""
TABLE_2: tuple[tuple[str, tuple[float | None, ...]], ...] = (
    ("Claude Sonnet 4.5 (fc, reported)", (60.9, 81.1, 88.6, 68.8, 86.3, 70.0, 86.2, 98.0)),
    ("GPT-5.1-mini (reported)", (27.4, 58.6, 70.2, 68.8, 91.8, None, None, None)),
    ("GPT-5.1 (reported)", (36.1, 59.0, 73.0, 68.8, 91.4, 77.9, None, 95.6)),
    ("Gemini-2.5-Pro (reported)", (29.3, 63.8, 85.6, 43.8, 91.5, None, None, None)),
    ("Gemini-3.0-Pro (reported)", (None, None, None, None, None, 73.0, 85.3, 85.4)),
    ("xLAM-2-3b-fc-r (reported)", (56.0, 58.7, 82.9, 94.4, 57.9, 32.0, 44.4, None)),
    ("xLAM-2-8b-fc-r (reported)", (69.3, 66.7, 84.4, 83.3, 64.1, 35.2, 58.2, None)),
    ("xLAM-2-32b-fc-r (reported)", (66.4, 73.8, 89.5, 83.3, 76.3, 45.0, 64.3, None)),
    ("Qwen3-4B-Thinking-2507", (48.1, 82.9, 86.3, 100.0, 78.9, 46.0, 56.1, 21.1)),
    ("Qwen3-30B-A3B-Thinking-2507", (53.8, 84.1, 89.6, 100.0, 80.6, 56.0, 54.4, 22.8)),
    ("GPT-OSS-120b", (51.3, 72.6, 37.5, 75.0, 85.5, 56.4, 75.3, 59.5)),
    ("Qwen3-4B + APIGEN", (50.9, 83.1, 87.5, 83.3, 82.3, 50.0, 58.8, 30.7)),
    ("Qwen3-30B + APIGEN", (53.8, 83.5, 90.1, 83.3, 82.3, 56.0, 60.5, 33.3)),
    ("Qwen3-4B + NEMOTRON", (52.1, 85.8, 88.2, 75.0, 85.5, 44.0, 50.9, 26.3)),
    ("Qwen3-30B + NEMOTRON", (46.0, 50.9, 88.7, 88.9, 76.3, 54.0, 48.2, 28.1)),
    ("Qwen3-4B + OURS", (52.7, 84.9, 89.6, 83.3, 80.6, 52.0, 57.0, 36.8)),
    ("Qwen3-30B + OURS", (55.5, 86.5, 90.1, 88.9, 83.8, 56.0, 57.8, 42.1)),
)

TABLE_3: dict[str, tuple[tuple[str, float, float], ...]] = {
    # pipeline -> model, BFCL multi-turn, τ² telecom
    "task-oriented": (("Qwen3-4B", 50.9, 24.5), ("Qwen3-30B", 53.8, 26.3)),
    "user-oriented": (("Qwen3-4B", 51.8, 30.7), ("Qwen3-30B", 54.5, 34.2)),
    "user-oriented + tool execution": (("Qwen3-4B", 52.7, 35.1), ("Qwen3-30B", 54.9, 40.4)),
}

FIGURE_5_MODELS = ("GPT-OSS-120b", "Qwen3-4B-Thinking-2507", "Qwen3-30B-A3B-Thinking-2507")
"""The models of Figure 5. The paper prints no numbers of its Pass^k curves; Pass^1 equals the Pass@1 of Table 2."""

TABLE_4 = (
    # pipeline, latency (seconds per sample), throughput (generated tokens per second over all GPUs)
    ("task-oriented", 0.64, 8_819),
    ("user-oriented", 4.11, 4_079),
)
"""Measured with GPT-OSS-120b, tensor parallel 2, 16 instances on 32 H100."""
