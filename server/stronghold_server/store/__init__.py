"""What the server keeps: the ``Store`` interface, and SQLite behind it."""
