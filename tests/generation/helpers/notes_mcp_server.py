"""A small MCP server of the SDK's own making, run as a program: notes that each process keeps for itself."""

import json
import os
import sys
from typing import Any

from mcp.server.mcpserver import MCPServer

server = MCPServer("Team Notes")
NOTES: dict[int, dict[str, Any]] = {
    number: {"note_id": number, "title": title, "owner": owner}
    for number, (title, owner) in enumerate([("Budget", "Ada"), ("Menu", "Bo"), ("Route", "Ada")], start=1)
}


@server.tool("notes.list")
def list_notes() -> str:
    """Lists all notes."""
    return json.dumps(list(NOTES.values()))


@server.tool("notes.get")
def get_note(note_id: int) -> dict[str, Any]:
    """Returns one note."""
    return NOTES[note_id]


@server.tool("notes.rename")
def rename_note(note_id: int, title: str) -> str:
    """Renames a note."""
    NOTES[note_id]["title"] = title
    return "renamed"


@server.tool("notes/list")
def list_again() -> str:
    """Lists nothing; made valid, its name is that of another tool."""
    return "[]"


def die() -> str:
    """Ends the server in the middle of a call."""
    os._exit(1)


@server.tool("process")
def process() -> str:
    """Returns the id of the process, and whether it sees a variable of its caller."""
    return f"{os.getpid()} {os.environ.get('NOTES_TOKEN', 'none')}"


@server.tool("much")
def much(characters: int) -> str:
    """Returns a long text."""
    return "x" * characters


if __name__ == "__main__":
    if sys.argv[1:] == ["mortal"]:
        server.tool("die")(die)
    server.run("stdio")
