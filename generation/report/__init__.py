"""What a generation run contributes to `make report`: its sections, and its dialogues to browse."""
