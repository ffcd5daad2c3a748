"""What the engine tells the outside: logs, metrics, health. All of it fed by events."""
