"""Runs the official BFCL code in its own environment."""
