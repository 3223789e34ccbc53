"""SQLite databases: reading schemas, forking sandboxed copies, checking generated SQL."""
