"""The program that a validator runs on a node to have it describe and prove itself, and nothing else.

``node_program.py`` is uploaded as it stands; it is never imported by the engine.
"""
