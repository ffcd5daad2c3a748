"""The version of this program, one place for engine, console and package."""

__version__ = "0.1.0"
