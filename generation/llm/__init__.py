"""Language models: the protocol, the client for OpenAI-compatible servers, metering."""
