"""A key file, a key store and a vault, each in the place a deployment would give it."""

from __future__ import annotations

from pathlib import Path

import pytest

from governance.keys.providers.file import create_file_key
from governance.keys.providers.provider import KeyProvider, provider_for
from governance.keys.store import Keyring
from governance.keys.vault.vault import SubjectVault


@pytest.fixture
def kek(tmp_path: Path) -> Path:
    path = tmp_path / "kek" / "kek.json"
    path.parent.mkdir()
    create_file_key(path)
    return path


@pytest.fixture
def provider(kek: Path) -> KeyProvider:
    return provider_for(f"file:{kek}")


@pytest.fixture
def key_store(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def keyring(key_store: Path, provider: KeyProvider) -> Keyring:
    return Keyring.create(key_store, provider)


@pytest.fixture
def vault_directory(tmp_path: Path) -> Path:
    return tmp_path / "vault"


@pytest.fixture
def vault(vault_directory: Path, keyring: Keyring) -> SubjectVault:
    return SubjectVault.create(vault_directory, keyring)
