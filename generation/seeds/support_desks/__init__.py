"""Support desks whose customers have devices that only they can touch: databases, tools of both sides, procedures."""
