"""``python -m tests.readme_keys``: write the README's table of keys from the one binding table."""

from __future__ import annotations

import re
from pathlib import Path

from basilica_tui.bindings import bindings_markdown

README = Path(__file__).parents[1] / "README.md"


def main() -> None:
    """Replace what stands between the markers."""
    table = f"<!-- keys -->\n{bindings_markdown().strip()}\n<!-- /keys -->"
    README.write_text(re.sub(r"<!-- keys -->.*<!-- /keys -->", lambda _: table, README.read_text(), flags=re.DOTALL))


if __name__ == "__main__":
    main()
