"""The bundled domains, one module each, and the code that builds them."""
