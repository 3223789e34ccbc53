"""Stages 1 and 2: toolsets from databases or questions, and their output schemas."""
