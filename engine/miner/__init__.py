"""The miner role: who may enter which node until when, and whether the nodes are well."""
