"""Clean datasets from generation runs (make export): deduplicated, decontaminated, with a card."""
