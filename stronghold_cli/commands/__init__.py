"""The Typer commands: they parse, call, and print; ``vault``, ``reader``, ``process`` and ``formats`` do the work."""
