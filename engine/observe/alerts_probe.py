"""Looking at this host for alerts: disk, hotkey file, certificate. Blocking; called in a thread."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from engine.observe.alerts_facts import HostFacts


@dataclass
class HostProbe:
    """Knows where to look, and how the hotkey file was when the engine started."""

    directories: tuple[Path, ...]
    """Where the databases and other files of the engine live."""
    hotkey_file: Path | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    _first: tuple[int, int, int] | None = field(default=None, repr=False)

    def look(self) -> HostFacts:
        """What is there now."""
        path, free = self._least_free()
        problem, ends_in_s = self._certificate()
        return HostFacts(
            disk_path=path,
            disk_free_bytes=free,
            wallet_problem=self._wallet(),
            certificate_problem=problem,
            certificate_ends_in_s=ends_in_s,
        )

    def _least_free(self) -> tuple[str, int | None]:
        found: list[tuple[int, str]] = []
        for directory in self.directories:
            try:
                found.append((shutil.disk_usage(directory).free, str(directory)))
            except OSError:
                continue
        if not found:
            return "", None
        free, path = min(found)
        return path, free

    def _wallet(self) -> str:
        path = self.hotkey_file
        if path is None:
            return ""
        try:
            status = path.stat()
        except OSError as error:
            return f"the hotkey file {path} cannot be reached: {error.strerror}"
        if not stat.S_ISREG(status.st_mode):
            return f"the hotkey {path} is not a file any more"
        if status.st_mode & 0o077:
            return f"the hotkey file {path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o})"
        if not os.access(path, os.R_OK):
            return f"the hotkey file {path} may not be read any more"
        # Its content is a secret that nothing here needs: a file that was replaced shows in its metadata.
        seen = (status.st_ino, status.st_size, status.st_mtime_ns)
        self._first = self._first or seen
        return "" if seen == self._first else f"the hotkey file {path} was replaced while the engine runs"

    def _certificate(self) -> tuple[str, float | None]:
        if self.certificate is None:
            return "", None
        from cryptography import x509  # noqa: PLC0415 - only where TLS is in use

        try:
            found = x509.load_pem_x509_certificate(self.certificate.read_bytes())
            if self.certificate_key is not None and not os.access(self.certificate_key, os.R_OK):
                return f"the TLS key {self.certificate_key} cannot be read", None
        except OSError as error:
            return f"the TLS certificate {self.certificate} cannot be read: {error.strerror}", None
        except ValueError:
            return f"{self.certificate} is not a PEM certificate", None
        return "", (found.not_valid_after_utc - datetime.now(UTC)).total_seconds()
