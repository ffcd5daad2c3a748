"""``python -m basilica_tui``."""

from basilica_tui.cli import main

main()
