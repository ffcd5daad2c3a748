"""The private key that the engine logs in with."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Self

import asyncssh

from engine.errors import ClientKeyUnusable


class ClientKey:
    """A private key in memory; its public half in the forms that others need."""

    def __init__(self, private: asyncssh.SSHKey, comment: str = "") -> None:
        self._private: asyncssh.SSHKey | None = private
        words = private.export_public_key("openssh").decode("ascii").split()
        self.algorithm: str = words[0]
        self.blob_base64: str = words[1]
        self.fingerprint: str = private.get_fingerprint()
        self.comment = comment

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read an unencrypted private key; raises ClientKeyUnusable naming the path and what to do."""
        path = path.expanduser()
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            text = path.read_bytes()
        except OSError as error:
            raise ClientKeyUnusable(
                f"cannot read the SSH key {path}: {error.strerror or error}",
                hint=f"make one with: basilica-tui keys generate --path {path}",
            ) from error
        if mode & 0o077:
            raise ClientKeyUnusable(
                f"the SSH key {path} is open to other users (mode {mode:03o})", hint=f"run: chmod 600 {path}"
            )
        try:
            private = asyncssh.import_private_key(text)
        except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError, ValueError) as error:
            if not text.strip():
                raise ClientKeyUnusable(
                    f"the SSH key {path} is empty", hint=f"remove it, then: basilica-tui keys generate --path {path}"
                ) from error
            if "passphrase" in str(error).lower():  # the library has no error of its own for "none was given"
                raise ClientKeyUnusable(
                    f"the SSH key {path} is protected by a passphrase",
                    hint="use a key without one, kept in a file that only the engine's user can read",
                ) from error
            raise ClientKeyUnusable(
                f"{path} is not a private SSH key", hint="name the private key, not the .pub file"
            ) from error
        comment = private.get_comment_bytes() or b""
        return cls(private, comment.decode("utf-8", "replace"))

    @classmethod
    def generate(cls, comment: str = "") -> Self:
        """A new Ed25519 key that exists in memory only."""
        return cls(asyncssh.generate_private_key("ssh-ed25519", comment=comment or None), comment)

    @classmethod
    def load_or_create(cls, path: Path, comment: str = "") -> Self:
        """The key in that file; a new one is made and saved there when the file does not exist."""
        if path.expanduser().exists():
            found = cls.from_file(path)
            if not path.expanduser().with_name(path.name + ".pub").exists():  # whoever made the key was killed
                with contextlib.suppress(OSError):
                    found._save_public(path.expanduser())
            return found
        key = cls.generate(comment)
        key.save(path)
        return key

    @property
    def private(self) -> asyncssh.SSHKey:
        """For ``engine.ssh.login`` alone. Raises ClientKeyUnusable after ``wipe``."""
        if self._private is None:
            raise ClientKeyUnusable(
                f"the SSH key {self.fingerprint} is over", hint="a new one is made for each session"
            )
        return self._private

    def wipe(self) -> None:
        """Overwrite the private half in memory and forget it; OpenSSL clears its own copy when that is let go.

        Only Ed25519 keys hold a copy as bytes. CPython gives no other way to overwrite one, and nobody else may hold
        the same object: the library made it for this key.
        """
        private, self._private = self._private, None
        held = getattr(getattr(private, "_key", None), "private_value", None)
        if isinstance(held, bytes) and sys.implementation.name == "cpython":
            ctypes.memset(id(held) + bytes.__basicsize__ - 1, 0, len(held))

    @property
    def normalised(self) -> str:
        """``algorithm base64``, without a comment."""
        return f"{self.algorithm} {self.blob_base64}"

    @property
    def public_line(self) -> str:
        """``algorithm base64 comment`` as it stands in an authorized_keys file."""
        return " ".join(part for part in (self.algorithm, self.blob_base64, self.comment) if part)

    def save(self, path: Path) -> None:
        """Write the private key (mode 0600) and ``path.pub``; never replaces an existing key."""
        path = path.expanduser()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(self.private.export_private_key("openssh"))
                    file.flush()
                    os.fsync(file.fileno())
                _take_name(Path(draft), path)
            finally:
                Path(draft).unlink(missing_ok=True)
            self._save_public(path)
            _sync_directory(path.parent)
        except OSError as error:
            raise ClientKeyUnusable(f"cannot write the SSH key {path}: {error.strerror or error}") from error

    def _save_public(self, path: Path) -> None:
        path.with_name(path.name + ".pub").write_text(self.public_line + "\n")

    def __repr__(self) -> str:
        return f"ClientKey({self.algorithm}, {self.fingerprint})"


def _take_name(draft: Path, path: Path) -> None:
    """The whole file under its name at once, and never in another one's place. Raises FileExistsError, OSError."""
    try:
        os.link(draft, path)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EMLINK}:  # a file system without hard links
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        draft.rename(path)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
