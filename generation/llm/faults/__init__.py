"""Models that fail on demand."""
