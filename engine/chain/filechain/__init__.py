"""The embedded chain: a subnet in one SQLite file, shared by the processes of one machine.

``FileChainAdmin`` creates and arranges it; ``filechain.substrate.FileSubstrate`` puts the SDK's ``Client`` on it
(kept in its own module because it imports the SDK). Whoever can write the file owns the chain: signatures prove
which hotkey made a call through the SDK, file permissions decide who may administer.
"""

from engine.chain.filechain.admin import CallRecord, FileChainAdmin

__all__ = ["CallRecord", "FileChainAdmin"]
