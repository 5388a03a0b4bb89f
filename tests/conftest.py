"""What every test process needs."""

from __future__ import annotations

import sys

# PySpark takes a process without a main file for a run of its own doctests, and ends it when Great
# Expectations imports it. The workers of pytest-xdist have none.
main = sys.modules["__main__"]
if not hasattr(main, "__file__"):
    main.__file__ = __file__
