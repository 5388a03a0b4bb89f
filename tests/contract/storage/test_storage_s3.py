"""What only ``s3:`` has."""

import socket

import boto3
import pytest

from governance.errors import StorageError
from governance.storage import storage_for


@pytest.mark.parametrize(
    "uri",
    ["s3:", "s3://", "s3://b", "s3://bucket?endpoint=x", "s3://key:hunter22@bucket/x", "s3://bucket/../x"],
)
def test_malformed_uris(uri: str) -> None:
    with pytest.raises(StorageError, match="GOV-724") as caught:
        storage_for(uri)
    assert "hunter22" not in str(caught.value)


@pytest.mark.usefixtures("s3_server")
def test_names_are_keys_as_they_stand() -> None:
    storage = storage_for("s3://governance/named")
    for name in ("a b%20c.bin", "ü/day=2026-11-24/x+y.bin", "~'()!*.bin"):
        storage.write(name, b"1")
        with storage.filesystem().open_input_stream(storage.path(name)) as stream:
            assert stream.read() == b"1", name
    keys = boto3.client("s3").list_objects_v2(Bucket="governance", Prefix="named/")["Contents"]
    assert sorted(key["Key"].removeprefix("named/") for key in keys) == storage.list()


@pytest.mark.usefixtures("s3_server")
def test_a_directory_is_no_prefix_of_names() -> None:
    storage = storage_for("s3://governance/apart")
    storage.write("v/1/a", b"")
    storage.write("v/10/a", b"")
    assert storage.list("v/1") == ["v/1/a"]
    storage.remove_tree("v/1")
    assert storage.list() == ["v/10/a"]
    assert not storage.exists("v/1")


@pytest.mark.usefixtures("s3_server")
def test_more_objects_than_one_deletion_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governance.storage.s3._BATCH", 10)
    storage = storage_for("s3://governance/many")
    for number in range(25):
        storage.write(f"v/{number:04}", b"")
    assert len(storage.list("v")) == 25
    storage.remove_tree("v")
    assert storage.list() == []


@pytest.mark.usefixtures("s3_server")
def test_a_bucket_that_is_not_there() -> None:
    storage = storage_for("s3://nothing-here/x")
    for use in (
        lambda: storage.write("a", b""),
        lambda: storage.list(),
        lambda: storage.swap_pointer("p", None, b""),
    ):
        with pytest.raises(StorageError, match="GOV-724"):
            use()


@pytest.mark.usefixtures("s3_server")
def test_s3_that_is_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(StorageError, match="GOV-724"):
            storage_for("s3://governance/x").swap_pointer("current", None, b"v1")


@pytest.mark.usefixtures("s3_server")
def test_a_swap_whose_answer_was_lost_is_done() -> None:
    storage = storage_for("s3://governance/lost")
    storage.swap_pointer("current", None, b"v1")
    sent = storage._put  # type: ignore[attr-defined]

    def twice(key: str, data: bytes, mode: object) -> bool:
        sent(key, data, mode)
        return bool(sent(key, data, mode))

    storage._put = twice  # type: ignore[attr-defined]
    storage.swap_pointer("current", b"v1", b"v2")
    assert storage.pointer("current") == b"v2"
    with pytest.raises(StorageError, match="GOV-721"):
        storage.swap_pointer("current", b"v1", b"v3")
