"""The held-out benchmark: live dialogues decided by execution."""
