"""Attention over a token tree: every token sees its path to the root, and nothing else."""
