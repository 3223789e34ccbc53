"""Tools that a model simulates, with a ledger that keeps them consistent."""
