"""The Typer commands: they parse, call, and print; what is done is done by ``vault``, ``reader``, ``process``, ``formats``."""
