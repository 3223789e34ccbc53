"""Public datasets converted to dialogues (make convert)."""
