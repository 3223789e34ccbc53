"""What only a GPU can show, in one command of a few minutes."""
