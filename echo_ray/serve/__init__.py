"""The completion service: one Ray Serve application, one gateway, one vLLM engine per experiment arm."""
