"""The headless engine: everything that keeps running when no console is attached."""
