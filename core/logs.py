"""Why processes ended, by their log: the first exception of a rank or engine, or else the log's end."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

LINES = 25
"""The most lines that an error quotes."""

MESSAGE_LINES = 8
"""The most lines of an exception's message that are looked for."""

_PREFIX = re.compile(r"(\[rank\d+\]: ?|\(\w+(?: pid=\d+)?\) )(?:(?:ERROR|CRITICAL) [\d: -]+ \[[^]]*\] ?)?")
"""What torchrun and vLLM put before the lines of a rank or engine."""
_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = ("The above exception was the direct cause", "During handling of the above exception")
_KILLED = re.compile(r"failed \(exitcode: -9\).*")
"""How torchrun reports SIGKILL, as sent when memory is short: the process itself leaves no exception."""


def why_ended(log: Path, start: int = 0) -> str:
    """The lines of `log` from byte `start` on that say why its processes ended, at most LINES.

    Of several processes that end with an exception, the one whose exception is written first is the cause: the others
    only miss it. The end of its traceback is quoted, and that of each exception which caused it; without an exception,
    the end of the log.
    """
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").splitlines()
    processes: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number, line in enumerate(lines):
        prefix = _PREFIX.match(line)
        processes[prefix[1] if prefix else ""].append((number, line[prefix.end() :] if prefix else line))
    tracebacks = [traceback for process in processes.values() if (traceback := _last_traceback(process))]
    exceptions = _exceptions([line for _, line in min(tracebacks, default=[])]) or [lines]
    cause = [line for exception in exceptions for line in exception[-(LINES // len(exceptions)) :]]
    killed = [match[0] for line in lines if (match := _KILLED.search(line))]
    return "\n".join([*killed[:1], *cause])


def _exceptions(traceback: Sequence[str]) -> list[Sequence[str]]:
    """The lines of each exception in a chain."""
    starts = [i for i, line in enumerate(traceback) if line == _TRACEBACK]
    return [traceback[start:end] for start, end in pairwise([*starts, len(traceback)])]


def _last_traceback(process: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """The last exception among the numbered lines of a process, with those that caused it; empty if there is none."""
    starts = [i for i, (_, line) in enumerate(process) if line == _TRACEBACK]
    if not starts:
        return []
    end = starts[-1] + 1
    while end < len(process) and (process[end][1].startswith(" ") or not process[end][1]):
        end += 1
    limit = min(end + MESSAGE_LINES, len(process))
    while end < limit and process[end][1].strip():
        end += 1
    first = len(starts) - 1
    while first and any(line.startswith(_CHAINED) for _, line in process[starts[first - 1] : starts[first]]):
        first -= 1
    return list(process[starts[first] : end])
