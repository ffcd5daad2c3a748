"""From an empty server to a serving engine: the phases of the setup, their answers, and what each does."""
