"""A bounded recording of what happened, on disk, and reading it back at any moment."""
