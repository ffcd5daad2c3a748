"""Faults on purpose: what reliability promises, asked of real processes. Run with ``make faults``."""
