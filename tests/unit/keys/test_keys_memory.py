"""A process with keys leaves no core dump and shows nobody its environment."""

from __future__ import annotations

import ctypes
import os
import resource

import pytest

from governance.keys.memory import keep_to_itself


def test_no_core_dump_and_no_environment_for_others() -> None:
    if not os.path.exists("/proc/self/environ"):  # noqa: PTH110
        pytest.skip("needs Linux's /proc")
    child = os.fork()
    if child == 0:
        keep_to_itself()
        dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
        kept = dumpable == 0 and resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
        os._exit(0 if kept and os.stat("/proc/self/environ").st_uid == 0 else 1)  # noqa: PTH116
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
