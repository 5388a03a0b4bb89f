"""Keeps a long-lived process's memory and environment to itself."""

from __future__ import annotations

import contextlib
import ctypes
import resource

_PR_SET_DUMPABLE = 4


def keep_to_itself() -> None:
    """No core dump of this process, and no look into it by others of the same user.

    ``PR_SET_DUMPABLE`` (prctl(2)) also makes ``/proc/PID/environ`` and ``mem`` root's, and refuses debuggers
    that are not root's. The limit on core files alone would not hold where ``core_pattern`` is a pipe.
    Elsewhere than on Linux only that limit is set.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
