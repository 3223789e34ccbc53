"""Experiments over cells and seeds: their settings, the registry of their results, and their analysis."""
