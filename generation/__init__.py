"""Data generation: from domains to verified dialogues."""
