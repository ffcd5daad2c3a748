"""An engine's life beyond one run: reloading its configuration, backing it up, taking over a deployed miner."""
