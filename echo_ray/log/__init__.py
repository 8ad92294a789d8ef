"""The experience log: append-only segments of requests and events."""
