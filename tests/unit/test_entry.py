"""The console script around the command line."""

from __future__ import annotations

import subprocess
import sys

INTERRUPTED = """
import sys

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "basilica_tui.cli_act":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Finder)
from basilica_tui.entry import main
main()
"""


def test_ctrl_c_while_libraries_load_is_no_traceback() -> None:
    """Ctrl-C in the first half second ends like any other: status 130 and not a word."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
