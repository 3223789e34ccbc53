"""What tool calls act on: executed, simulated or faulty environments."""
