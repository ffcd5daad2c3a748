"""The console's own widgets: lines that repaint only what changed, a table made of them, a prompt."""
