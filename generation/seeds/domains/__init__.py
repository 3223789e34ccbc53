"""The bundled domains: one module each, and what they are made with."""
