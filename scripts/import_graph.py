"""python -m scripts.import_graph: how the code of each stage hangs together, as grimp reads its imports.

A room is a module or folder directly inside a package, an arrow an import from one room to another, a floor one step of
the longest chain of arrows, and a circle a group of rooms that import each other.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
from rich.console import Console
from rich.table import Table

PACKAGES = ("core", "generation", "training", "evaluation")


def arrows(package: str) -> dict[str, set[str]]:
    """Room -> the rooms it imports, within one package."""
    graph = grimp.build_graph(package, cache_dir=None)
    rooms = sorted(graph.find_children(package))
    for room in rooms:
        graph.squash_module(room)
    return {room: graph.find_modules_directly_imported_by(room) & set(rooms) for room in rooms}


def floors(imports: dict[str, set[str]]) -> int:
    """Rooms on the longest chain of arrows. Raises graphlib.CycleError where there is a circle."""
    height: dict[str, int] = {}
    for room in TopologicalSorter(imports).static_order():
        height[room] = 1 + max((height[other] for other in imports[room]), default=0)
    return max(height.values(), default=0)


def main() -> None:
    table = Table("package", "rooms", "floors", "arrows", "circles")
    for package in PACKAGES:
        imports = arrows(package)
        try:
            levels, circle = str(floors(imports)), "none"
        except CycleError as error:
            levels, circle = "-", " -> ".join(error.args[1])
        table.add_row(package, str(len(imports)), levels, str(sum(map(len, imports.values()))), circle)
    Console().print(table)


if __name__ == "__main__":
    main()
