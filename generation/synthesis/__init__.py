"""Databases made from a sentence about a domain: a model writes schema and generators of rows, code checks and fills
them."""
