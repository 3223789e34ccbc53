"""The entry points behind the make targets."""
