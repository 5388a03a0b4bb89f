"""``aws-kms:`` over the wire, against moto's server (no real KMS can run here)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from governance.errors import ProtectionError
from governance.keys.provider import provider_for
from governance.keys.store import Keyring

_URI = "aws-kms:eu-central-1/governance"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def kms(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {
        "AWS_ENDPOINT_URL_KMS": server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return boto3.client("kms", region_name="eu-central-1")


@pytest.mark.parametrize(
    "uri",
    [
        "aws-kms:",
        "aws-kms:governance",
        "aws-kms:eu-central-1/",
        "aws-kms:eu-central-1/a b",
        f"{_URI}?deletion_days=6",
        f"{_URI}?deletion_days=31",
        f"{_URI}?secret=hunter22",
    ],
)
def test_malformed_uris(uri: str) -> None:
    with pytest.raises(ProtectionError, match="GOV-301") as caught:
        provider_for(uri)
    assert "hunter22" not in str(caught.value)


def test_an_epoch_is_the_same_for_every_process_and_another_for_each_store(kms: Any) -> None:
    provider = provider_for(_URI)
    wrapped = provider.create_epoch("one", 1).wrap(bytes(32), "k", "", "")
    assert provider.create_epoch("one", 1).unwrap(wrapped, "k", "", "") == bytes(32)
    assert provider_for(_URI).epoch_key("one", 1).unwrap(wrapped, "k", "", "") == bytes(32)
    for store, epoch in (("two", 1), ("one", 2)):
        with pytest.raises(ProtectionError, match="GOV-308"):
            provider.create_epoch(store, epoch).unwrap(wrapped, "k", "", "")
    assert provider.epochs("one") == (1, 2)
    assert provider.epochs("two") == (1,)
    assert not provider.lies_in(Path("/"))


def test_a_key_store_rotates_and_its_old_copy_is_noise(kms: Any, tmp_path: Path) -> None:
    provider = provider_for(f"{_URI}?deletion_days=9")
    directory = tmp_path / "keys"
    directory.mkdir()
    keyring = Keyring.create(directory, provider)
    kept, shredded = keyring.new_segment_key("a", "restricted"), keyring.new_segment_key("b", "restricted")
    before, root = keyring.segment_key(kept), keyring.secret("tokens")
    keyring.close()
    copy = (directory / "keys.sqlite").read_bytes()
    rotation = keyring.destroy_segment_keys(["b"])
    assert rotation.destruction.epochs == (1,)
    assert not rotation.destruction.confirmed
    assert "can be cancelled" in rotation.destruction.pending[0]
    assert (keyring.segment_key(kept), keyring.secret("tokens")) == (before, root)
    with pytest.raises(ProtectionError, match="GOV-303"):
        keyring.segment_key(shredded)
    old = tmp_path / "old"
    old.mkdir()
    (old / "keys.sqlite").write_bytes(copy)
    with pytest.raises(ProtectionError, match="GOV-303"):
        Keyring.open(old, provider_for(_URI))


def test_destruction_is_pending_until_the_key_is_gone(kms: Any) -> None:
    provider = provider_for(_URI)
    provider.create_epoch("dying", 1)
    provider.create_epoch("dying", 2)
    told = provider.destroy_epochs("dying", 2)
    assert told.epochs == (1,)
    assert len(told.pending) == 1
    again = provider.destroy_epochs("dying", 2)
    assert (again.epochs, again.confirmed, again.pending) == ((), False, told.pending)
    assert provider.epochs("dying") == (2,)
    with pytest.raises(ProtectionError, match="GOV-303"):
        provider.epoch_key("dying", 1)
    # What AWS does when the window has passed.
    from moto.kms.models import kms_backends

    backend = kms_backends["123456789012"]["eu-central-1"]
    key = backend.get_key_id_from_alias("alias/governance-dying-1")
    assert key is not None
    backend.delete_key(key)
    assert provider.destroy_epochs("dying", 2).confirmed


def test_two_processes_that_make_one_epoch_agree(kms: Any) -> None:
    together = threading.Barrier(4)

    def make(_: int) -> Any:
        provider = provider_for(_URI)
        together.wait()
        return provider.create_epoch("race", 1)

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(make, range(4)))
    wrapped = made[0].wrap(bytes(32), "k", "", "")
    assert all(each.unwrap(wrapped, "k", "", "") == bytes(32) for each in made)


def test_kms_that_is_away_or_refuses_is_said_and_nothing_secret(
    kms: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter22hunter22")
        provider = provider_for(_URI)
        with pytest.raises(ProtectionError, match=r"GOV-309.*EndpointConnectionError") as caught:
            provider.epoch_key("one", 1)
    assert "hunter22" not in str(caught.value)


def test_an_epoch_key_is_in_no_repr(kms: Any) -> None:
    provider = provider_for(_URI)
    epoch = provider.create_epoch("quiet", 1)
    key = kms.generate_mac(
        Message=b'["governance epoch key v1","quiet",1]',
        KeyId="alias/governance-quiet-1",
        MacAlgorithm="HMAC_SHA_256",
    )["Mac"]
    assert key.hex() not in repr(epoch) + repr(provider)
