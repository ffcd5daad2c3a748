"""The console: a Textual program that attaches to a running engine over its control socket."""
