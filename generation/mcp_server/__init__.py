"""Toolsets served over the Model Context Protocol: each session acts in a world of its own and can be verified."""
