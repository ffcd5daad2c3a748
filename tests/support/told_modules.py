"""The engine as the command line starts it; at its end it writes which modules it had loaded.

``python -m tests.support.told_modules OUT --daemon --config FILE``
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    out = Path(sys.argv.pop(1))
    from basilica_tui.cli import main

    try:
        main()
    finally:
        out.write_text("\n".join(sorted(sys.modules)))
