"""Taking over a deployed miner: find its set-up, say what it means here, write a configuration of ours.

Nothing is imported here: the doctor needs what finds a miner, and not what writes a file.
"""
