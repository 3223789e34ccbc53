"""Stage 3: verdicts by execution and by an LRM judge, and who is to blame."""
