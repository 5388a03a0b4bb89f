"""Envelopes are RFC 8785, and proofs of them travel without a store."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.errors import LogError
from governance.log import tree
from governance.log.envelope import Envelope, check_names, salted_digest
from governance.log.note import Checkpoint
from governance.log.proof import InclusionProof, verify_entry
from governance.log.sealing import NewEntry, keyed_digests
from governance.model.canonical import canonical
from governance.model.principal import SCOPES

SALT = bytes(range(32))
ENVELOPE = Envelope(
    "2026-01-31T12:00:00.000000Z", "evidence:pipeline", "application/json", 2, salted_digest(SALT, b"{}")
)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@given(names, names, st.integers(0, 2**53 - 1))
def test_a_leaf_is_canonical_json(principal: str, media_type: str, size: int) -> None:
    envelope = Envelope(ENVELOPE.received_at, principal, media_type, size, ENVELOPE.digest)
    leaf = envelope.to_leaf()
    assert leaf == canonical(
        {
            "v": 1,
            "received_at": envelope.received_at,
            "principal": principal,
            "media_type": media_type,
            "size": size,
            "digest": envelope.digest,
        }
    )
    assert Envelope.from_leaf(leaf) == envelope


def test_a_leaf_fits_a_tile_entry() -> None:
    widest = "\U0010ffff" * 255
    assert len(Envelope(ENVELOPE.received_at, widest, widest, 2**53 - 1, ENVELOPE.digest).to_leaf()) < 65_536


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": True},
        {"v": 1.0},
        {"size": "2"},
        {"size": True},
        {"digest": "sha256:" + "A" * 64},
        {"digest": None},
        {"received_at": "2026-01-31T12:00:00Z"},
        {"received_at": "٢٠٢٦-01-31T12:00:00.000000Z"},
        {"principal": None},
        {"media_type": []},
        {"extra": 1},
    ],
)
def test_other_members_are_refused(change: dict[str, object]) -> None:
    members = json.loads(ENVELOPE.to_leaf()) | change
    with pytest.raises(LogError) as caught:
        Envelope.from_leaf(
            json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        )
    assert caught.value.code == "GOV-504"


@given(st.binary(max_size=60))
def test_no_bytes_crash_the_reader(leaf: bytes) -> None:
    with pytest.raises(LogError):
        Envelope.from_leaf(leaf)


def test_only_one_spelling_is_accepted() -> None:
    leaf = ENVELOPE.to_leaf()
    for spelling in (leaf + b"\n", leaf.replace(b":", b": ", 1), leaf.replace(b'"v":1', b'"v":1,"v":1')):
        with pytest.raises(LogError, match="GOV-504"):
            Envelope.from_leaf(spelling)
    with pytest.raises(LogError, match="GOV-504"):
        Envelope.from_leaf(b"[" * 100_000)


@given(st.integers(0, 300), st.binary(max_size=3))
def test_an_altered_leaf_is_read_as_json_or_not_at_all(place: int, with_what: bytes) -> None:
    """Plain leaves are read by their pattern: it must accept nothing that is not canonical JSON."""
    leaf = ENVELOPE.to_leaf()
    altered = leaf[:place] + with_what + leaf[place + 1 :]
    try:
        found = Envelope.from_leaf(altered)
    except LogError:
        return
    assert canonical(json.loads(altered)) == altered
    assert json.loads(altered) == {name: getattr(found, name) for name in Envelope.__slots__}


def test_an_envelope_covers_one_body_and_salt() -> None:
    assert ENVELOPE.covers(SALT, b"{}")
    assert not ENVELOPE.covers(SALT, b"[]")
    assert not ENVELOPE.covers(bytes(32), b"{}")
    # Bytes that move over the border between salt and body keep the digest and change the size.
    assert not ENVELOPE.covers(SALT[:-1], SALT[-1:] + b"{}")


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 256, "\ud800", "\x00"])
def test_names_no_envelope_carries(name: str) -> None:
    for principal, media_type in ((name, "text/plain"), ("admin:cli", name)):
        with pytest.raises(LogError, match="GOV-508"):
            check_names(principal, media_type)


def test_a_proof_travels_as_json() -> None:
    leaves = [ENVELOPE.to_leaf(), b"1", b"2"]
    hashes = [tree.leaf_hash(leaf) for leaf in leaves]
    root = tree.node_hash(tree.node_hash(hashes[0], hashes[1]), hashes[2])
    proof = InclusionProof(0, 3, (hashes[1], hashes[2]))
    again = InclusionProof.from_json(json.loads(json.dumps(proof.to_json())))
    assert again == proof
    checkpoint = Checkpoint("example.com/log", 3, root, "")
    verify_entry(leaves[0], again, checkpoint)
    with pytest.raises(LogError, match="GOV-504"):
        verify_entry(leaves[1], again, checkpoint)
    with pytest.raises(LogError, match="a tree of size 3, the checkpoint for 4"):
        verify_entry(leaves[0], again, Checkpoint("example.com/log", 4, root, ""))


@pytest.mark.parametrize(
    "change", [{"index": "0"}, {"size": True}, {"hashes": ["AA=="]}, {"hashes": ["*"]}, {"hashes": 3}]
)
def test_a_malformed_proof_is_refused(change: dict[str, object]) -> None:
    members = {"index": 0, "size": 1, "hashes": []} | change
    with pytest.raises(LogError, match="GOV-504"):
        InclusionProof.from_json(members)
    with pytest.raises(LogError, match="GOV-504"):
        InclusionProof.from_json({})


@pytest.mark.parametrize(
    "principal", ["", "airflow", "operator:cli", "ingest:", "ingest: a", "Ingest:a", "ingest:é", "ingest:a\n"]
)
def test_a_principal_is_a_scope_and_a_name(principal: str) -> None:
    with pytest.raises(LogError) as caught:
        check_names(principal, "text/plain")
    assert caught.value.code == "GOV-508"
    assert "evidence, ingest" in caught.value.remedy
    for scope in SCOPES:
        check_names(f"{scope}:" + "a name of 200".ljust(200, "."), "text/plain")


@given(st.binary(max_size=300), st.binary(min_size=32, max_size=32), st.text(max_size=9))
def test_keyed_digests_are_hmac(body: bytes, key: bytes, name: str) -> None:
    entry = NewEntry(body, name, f"ingest:{name}")
    sender = b"".join(
        len(part).to_bytes(4, "big") + part for part in (entry.principal.encode(), entry.media_type.encode())
    )
    hashed = hashlib.sha256(body).digest()
    marker = hmac.digest(key, b"entry\x00" + sender + hashed, "sha256")
    assert keyed_digests(key, entry) == (marker, hmac.digest(key, b"refusal\x00" + hashed, "sha256"))


def test_a_large_body_has_the_digest_of_its_bytes() -> None:
    for size in (0, (1 << 16) - 1, 1 << 16, 1 << 20):
        body = bytes(size)
        assert salted_digest(SALT, body) == "sha256:" + hashlib.sha256(SALT + body).hexdigest()
