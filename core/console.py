"""The console that a stage prints to."""

from __future__ import annotations

from rich.console import Console

LOG_WIDTH = 132


def stage_console() -> Console:
    """As wide as the terminal; a pipe or a log file, which has no width, gets one that fits the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=LOG_WIDTH)
