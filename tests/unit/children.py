"""The environment in which tests start a Python of their own: it finds the modules that this one finds."""

from __future__ import annotations

import os
import sys


def child_environment(**changes: str) -> dict[str, str]:
    """This process' environment with its module path in it and buffered output, and ``changes``."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**own, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **changes}
