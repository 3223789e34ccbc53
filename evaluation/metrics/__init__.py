"""Pass@k, Pass^k, intervals and comparisons."""
