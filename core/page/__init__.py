"""A page that opens in any browser: one file that needs no server and no network."""
