"""``python -m basilica_tui``."""

from basilica_tui.entry import main

main()
