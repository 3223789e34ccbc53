"""Stage 3: one dialogue between user simulator, agent and tools."""
