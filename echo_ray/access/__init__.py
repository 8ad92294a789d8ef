"""Who may ask, and how often: API keys, the headers that carry them, and rate limits."""
