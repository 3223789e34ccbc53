"""Services that offer tools to others: MCP servers and HTTP interfaces described by OpenAPI."""
