"""The program's version; the one place where it stands (``pyproject.toml`` reads it from here)."""

from __future__ import annotations

VERSION = "0.1.0"
PROTOCOL_VERSION = 1
