"""A whole subnet in one process tree: file chain, stand-in GPU nodes, miner and validator engines."""
