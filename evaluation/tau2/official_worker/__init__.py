"""Runs τ²-bench's official code of release 0.2.0, and its evaluator alone, in their own environment."""
