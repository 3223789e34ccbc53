"""Runs τ²-bench with inspect-evals in its own process."""
