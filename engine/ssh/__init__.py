"""Everything that goes to a node over SSH: one pooled connection per node, pinned host keys, the key file's editor.

``pool`` carries commands, ``authorized_keys`` decides what a key file should be (pure), ``keyfile`` reads and
swaps it on the node, ``capability`` knows what a node's sshd and tools can do. asyncssh stays inside this room.
"""
