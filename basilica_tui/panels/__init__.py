"""What each panel says, as lines of toned spans. Pure: no Textual, no clock of its own."""
