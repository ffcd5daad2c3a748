"""The validator's REST face: answers about miners, nodes, verifications and the configuration, and who may ask.

``process`` is the engine's side of it, ``server`` the process that answers; only that one loads the web framework.
"""
