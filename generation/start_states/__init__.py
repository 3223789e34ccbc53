"""Start states: dialogues to extend, fork or replay, from any origin."""
