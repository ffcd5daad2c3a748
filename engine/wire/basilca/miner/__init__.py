"""Generated from proto/ by engine.wire.generate; never edited."""
