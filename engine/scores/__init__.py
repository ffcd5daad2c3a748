"""Rules of the network's scores that the miner's estimate and the validator's scoring share. Pure; no room above."""
