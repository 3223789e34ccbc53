"""The rules of a service: written by a model or given as a file, verified by execution, and checked in dialogues."""
