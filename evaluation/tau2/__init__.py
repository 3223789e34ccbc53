"""τ²-bench through inspect-evals or the official program."""
