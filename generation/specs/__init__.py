"""Tool specs and their names: formats, JSON types, entities, verbs."""
