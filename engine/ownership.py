"""What root makes among somebody's files belongs to whoever owns the directory, so that an engine can use it."""

from __future__ import annotations

import os
from pathlib import Path


def make_private_directory(path: Path) -> None:
    """The directory with what is missing above it, for its owner alone. Raises OSError."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for made in reversed(missing):
        take_after_directory(made)


def take_after_directory(path: Path) -> None:
    """Give it to the owner of its directory; only root can, and nobody else has to. Raises OSError."""
    if os.geteuid() == 0:
        above, found = path.parent.stat(), path.stat(follow_symlinks=False)
        # A hardened service of root may not even call chown, and has nothing to give away in its own directories.
        if (found.st_uid, found.st_gid) != (above.st_uid, above.st_gid):
            os.chown(path, above.st_uid, above.st_gid, follow_symlinks=False)
