"""Entry points: parse settings, call the library, say where the result is."""
