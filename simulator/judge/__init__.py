"""What really happened: oracles that judge a miner, and figures beside those of real developers."""
