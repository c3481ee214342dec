"""The Typer commands: they parse, call, and print; the work is done by ``vault``, ``reader``, ``process`` and ``formats``."""
