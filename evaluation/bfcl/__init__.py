"""BFCL v4 with the official data, runner and checker."""
