"""Sources of domains: bundled databases, Spider, SQLite files, Nemotron, τ², your own tools."""
