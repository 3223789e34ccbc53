"""Known-answer tests of the benchmarks (make eval-known)."""
