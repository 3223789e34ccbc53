"""Benchmarks, scores and the tables of the paper."""
