"""Reading what real models write: reasoning, tool calls, JSON."""
