"""Keys show up in no repr, pickle, message or traceback."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import sqlite3
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from governance.errors import GovernanceError
from governance.keys.providers.file import create_file_key
from governance.keys.providers.provider import KeyProvider, provider_for
from governance.keys.store import Keyring
from governance.keys.vault.vault import SubjectVault

_WORDS = "correct horse battery staple"


def _spellings(secret: bytes) -> Iterator[str]:
    yield secret.hex()
    yield base64.b64encode(secret).decode().rstrip("=")
    yield repr(secret)[2:-1]
    yield str(np.frombuffer(secret, np.uint8))[1:40]


def _shown(error: BaseException | None, seen: set[int] | None = None) -> str:
    """Everything a logger that prints causes, contexts and local variables could show."""
    seen = set() if seen is None else seen
    if error is None or id(error) in seen:
        return ""
    seen.add(id(error))
    parts = [str(error), repr(error), repr(error.args), repr(vars(error))]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if "/governance/" in frame.f_code.co_filename:
            parts += [repr(value) for value in frame.f_locals.values()]
    return "\n".join([*parts, _shown(error.__cause__, seen), _shown(error.__context__, seen)])


def _assert_hidden(text: str, *secrets: bytes) -> None:
    for secret in secrets:
        for spelling in _spellings(secret):
            assert spelling not in text


def _holders(keyring: Keyring, vault: SubjectVault, provider: KeyProvider) -> list[object]:
    vault.resolve("patient", pa.array(["a"]), create=True)
    epoch = provider.epoch_key(keyring._store, 1)
    signers = [keyring.evidence_signer, keyring.log_signer, keyring.run_signer("v", "1")]
    return [keyring, vault, provider, epoch, vault._pages, *signers]


def test_holders_are_redacted_and_stay_in_their_process(
    keyring: Keyring, vault: SubjectVault, provider: KeyProvider, kek: Path
) -> None:
    key = base64.b64decode(json.loads(kek.read_bytes())["key"])
    for holder in _holders(keyring, vault, provider):
        for text in (repr(holder), str(holder), f"{holder}", repr([holder])):
            _assert_hidden(text, key, keyring.secret("x"))
            assert "redacted" in text or "public_key=" in text
        for refuse in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot be pickled or copied"):
                refuse(holder)
        assert not hasattr(holder, "__dict__")


def _failures(
    keyring: Keyring, vault: SubjectVault, key_store: Path, kek: Path, vault_directory: Path
) -> Iterator[BaseException]:
    provider = provider_for(f"file:{kek}")

    def change(path: Path, statement: str) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute(statement)

    def fails(call: object) -> BaseException:
        with pytest.raises(GovernanceError) as caught:
            call()  # type: ignore[operator]
        return caught.value

    yield fails(lambda: keyring.segment_key("seg.none.restricted"))
    yield fails(lambda: provider.epoch_key(keyring._store, 9))
    change(
        key_store / "keys.sqlite", "UPDATE keys SET wrapped = zeroblob(60) WHERE key_id = 'seg.z.restricted'"
    )
    yield fails(lambda: keyring.segment_key("seg.z.restricted"))
    yield fails(keyring.rotate_epoch)
    change(vault_directory / "vault.sqlite", "UPDATE pages SET sealed = zeroblob(length(sealed))")
    vault.close()
    yield fails(lambda: vault.resolve("patient", pa.array(["a"]), create=True))
    change(vault_directory / "vault.sqlite", "UPDATE pages SET sealed = x'00'")
    yield fails(lambda: vault.secrets("patient", np.array([0])))
    epochs = kek.with_name("kek.json.epochs.json")
    epochs.write_text(epochs.read_text().replace('"1":"', '"1":"AAAA'))
    yield fails(lambda: provider.epoch_key(keyring._store, 1))
    yield fails(lambda: provider.destroy_epochs(keyring._store, 9) if epochs.write_text("{") else None)
    key_file = kek.read_text()
    for content in (key_file[:-1], key_file.replace('"v":1', '"v":2'), key_file.replace('"key",', '"none",')):
        kek.write_text(content)
        yield fails(lambda: provider_for(f"file:{kek}"))


def test_no_failure_shows_a_key(
    keyring: Keyring, vault: SubjectVault, key_store: Path, kek: Path, vault_directory: Path
) -> None:
    ordinals = vault.resolve("patient", pa.array(["a", "b"]), create=True)
    secrets = [base64.b64decode(json.loads(kek.read_bytes())["key"]), keyring.secret("x")]
    secrets += [keyring.segment_key(keyring.new_segment_key(name, "restricted")) for name in "abz"]
    secrets += [keyring.segment_key(vault._pages.head.key_id)]  # type: ignore[union-attr]
    secrets += [row.tobytes() for row in vault.secrets("patient", ordinals)]
    secrets += [row.tobytes() for row in vault.internal("patient")]
    codes = set()
    for error in _failures(keyring, vault, key_store, kek, vault_directory):
        codes.add(getattr(error, "code", ""))
        _assert_hidden(_shown(error), *secrets)
    assert codes == {"GOV-303", "GOV-307", "GOV-308"}


def test_no_failure_shows_a_passphrase(tmp_path: Path) -> None:
    uri = create_file_key(tmp_path / "kek.json", lambda: _WORDS, cost=1 << 14)
    wrong = "wrong horse battery staple"
    with pytest.raises(GovernanceError) as caught:
        provider_for(uri, lambda: wrong)
    assert caught.value.code == "GOV-302"
    shown = _shown(caught.value)
    assert wrong not in shown
    assert _WORDS not in shown
    with pytest.raises(GovernanceError) as caught:
        create_file_key(tmp_path / "other.json", lambda: "tiny-pw", cost=1 << 14)
    assert "tiny-pw" not in _shown(caught.value)
