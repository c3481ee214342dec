"""No core dumps of a process that holds keys (attack 47).

The soft limit is set and not the hard one, so that a command that ``run`` starts gets back what it had. On Linux it is set
to 1 and not to 0: no core file fits into it, and 1 is the value at which the kernel also starts no crash reporter, for which
limits otherwise do not count (fs/coredump.c). A non-dumpable process (``PR_SET_DUMPABLE``) would need ctypes, whose
import costs a pull a tenth of its time, and would only add protection from processes of the same user, who can read the
token's file anyway.
"""

from __future__ import annotations

import sys

_former: list[tuple[int, int]] = []


def forbid_core_dumps() -> None:
    """Keep this process from leaving a core dump."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    _former.append((soft, hard))
    wanted = 1 if sys.platform.startswith("linux") and hard != 0 else 0
    resource.setrlimit(resource.RLIMIT_CORE, (wanted, hard))


def allow_core_dumps() -> None:
    """Put the limit back that stood before ``forbid_core_dumps``: what ``run`` does last, for the command it becomes."""
    if _former:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, _former.pop())
