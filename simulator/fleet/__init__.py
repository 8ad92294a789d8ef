"""Many developers at once: HTTP client, crews of one process, and what they leave on disk."""
