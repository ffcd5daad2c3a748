"""The console script and ``python -m basilica_tui``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it quietly with 130 even while its libraries load."""
    try:
        from basilica_tui.cli import main as run  # noqa: PLC0415 - half a second in which Ctrl-C is possible

        run()
    except KeyboardInterrupt:
        sys.exit(130)
