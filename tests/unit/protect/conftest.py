"""A dataset root on disk, keys in memory, a signer and an opened run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from protect_support import MemoryKeys, TestSigner

from governance.model.dataset import SourceSnapshot
from governance.model.run import OpenedRun
from governance.storage.file import FileStorage

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def storage(tmp_path: Path) -> FileStorage:
    return FileStorage(tmp_path / "root")


@pytest.fixture
def keys() -> MemoryKeys:
    return MemoryKeys()


@pytest.fixture
def signer() -> TestSigner:
    return TestSigner()


@pytest.fixture
def run() -> OpenedRun:
    return OpenedRun(
        dataset="clinical",
        kind="training",
        run_id="manual__1",
        map_index=-1,
        attempt="a1",
        purpose="model_training",
        opened_at=datetime(2026, 1, 31, tzinfo=UTC),
        source=SourceSnapshot("parquet", "file:in", (), "sha256:" + "0" * 64),
        contract_digest="sha256:" + "1" * 64,
        policy_digest="sha256:" + "2" * 64,
        consent_position=3,
        version="v0123456789abcdef01234567",
        previous_version=None,
        run_public_key="",
    )
