"""Stage 3: tasks, their executable proof and their difficulty."""
