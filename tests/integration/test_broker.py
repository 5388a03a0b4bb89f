"""The governed pass of a worker that has no key and no way to a KMS: each key comes from a served process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from broker_world import Brokered, Platform, brokered
from served_process import Server

from governance.model.evidence import Stage

CUSTOMERS = "customer_profiles"


@pytest.fixture(scope="module")
def world(
    prepared_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Brokered, Server, Platform]]:
    home, server, platform = brokered(prepared_home, tmp_path_factory.mktemp("brokered"))
    yield home, server, platform
    server.close()


def test_a_pass_without_keys(world: tuple[Brokered, Server, Platform]) -> None:
    home, server, _ = world
    assert not any((home.path / name).exists() for name in ("keys", "secrets", "signer"))
    result = home.run(CUSTOMERS)
    rows = home.rows(CUSTOMERS)
    assert rows.num_rows == result.facts[Stage.PROTECT]["rows_out"] > 0
