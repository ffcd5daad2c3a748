"""The validator role: find miners on chain, ask them for their nodes, log in, and judge what is there."""
