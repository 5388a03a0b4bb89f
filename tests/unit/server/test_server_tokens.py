"""Tokens: shown once, hashed in the log, revoked at once, expired in time, nowhere in clear."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from governance.cli import cli
from governance.errors import AccessError
from governance.log import Log, NewEntry, open_storage
from governance.server.served import ServedStore
from governance.server.tokens import TOKEN, TokenBook, create_token, issued_tokens, revoke_token

TOKENS = "/api/v1/tokens"


def works(client: TestClient, token: str, path: str = "/metrics") -> bool:
    return client.get(path, headers={"authorization": f"Bearer {token}"}).status_code == 200


def test_a_token_is_made_used_listed_and_revoked_over_http(client: TestClient, served: ServedStore) -> None:
    made = client.post(TOKENS, json={"name": "dash", "scopes": ["read"], "namespaces": ["shop"]})
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    token, token_id = made.json()["token"], made.json()["id"]
    assert works(client, token)
    listed = next(t for t in client.get(TOKENS).json()["tokens"] if t["id"] == token_id)
    assert (listed["name"], listed["scopes"], listed["namespaces"], listed["revoked_by"]) == (
        "dash", ["read"], ["shop"], None,
    )  # fmt: skip
    assert client.delete(f"{TOKENS}/{token_id}").status_code == 204
    assert not works(client, token)
    audited = client.get("/api/v1/audit/tokens").json()["tokens"]
    assert next(t for t in audited if t["id"] == token_id)["revoked_by"] == served.log.size() - 1
    assert client.delete(f"{TOKENS}/0000000000000000").status_code == 404


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"name": "x", "scopes": []}, 422),
        ({"name": "x", "scopes": ["root"]}, 422),
        ({"name": "X Y", "scopes": ["read"]}, 400),
        ({"name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}, 400),
        ({"name": "x", "scopes": ["read"], "other": 1}, 422),
        ({"scopes": ["read"]}, 422),
    ],
)
def test_an_unusable_token_is_not_made(
    client: TestClient, served: ServedStore, wanted: dict[str, Any], status: int
) -> None:
    size = served.log.size()
    answer = client.post(TOKENS, json=wanted)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, "GOV-613")
    assert served.log.size() == size


@pytest.mark.parametrize("path", [TOKENS, "/api/v1/classifications/corrections", "/sign-in", "/nowhere"])
def test_no_body_is_read_that_is_larger_than_any_need_be(client: TestClient, path: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"{"
        raise AssertionError("it was read")

    for body in (b"x" * ((1 << 20) + 1), chunks()):
        answer = client.post(path, content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "GOV-614")
    assert client.post(path, content=b"x" * (1 << 20)).status_code != 413


def test_only_administrators_of_everything_make_tokens(client: TestClient, token: Callable[..., str]) -> None:
    for bearer in (token("read", "audit", "ingest"), token("admin", namespaces=["shop"])):
        headers = {"authorization": f"Bearer {bearer}"}
        assert client.get(TOKENS, headers=headers).status_code == 403
        assert client.post(TOKENS, json={"name": "x", "scopes": ["read"]}, headers=headers).status_code == 403
        assert client.delete(f"{TOKENS}/0000000000000000", headers=headers).status_code == 403


def test_a_token_ends_when_it_said(
    client: TestClient, served: ServedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = served.clock()
    token = create_token(
        served.log, name="x", scopes=["read"], namespaces=None,
        expires_at=now + timedelta(hours=1), principal="admin:test",
    )  # fmt: skip
    served.fresh()
    assert works(client, token)
    monkeypatch.setattr(served.tokens, "_clock", lambda: now + timedelta(hours=1))
    assert not works(client, token)


def test_another_process_makes_and_revokes_and_the_server_follows(
    client: TestClient, served: ServedStore
) -> None:
    """Nothing asks for it here: the server's own thread sees it."""
    made = create_token(
        served.log, name="x", scopes=["read"], namespaces=None, expires_at=None, principal="admin:cli"
    )
    wait_until(lambda: works(client, made))
    revoke_token(served.log, made.split("_")[1], "admin:cli")
    wait_until(lambda: not works(client, made))


def wait_until(holds: Callable[[], bool], attempts: int = 200) -> None:
    import time

    for _ in range(attempts):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


def test_a_token_leaf_of_nobody_with_the_right_to_make_one_is_none(served: ServedStore) -> None:
    body = create_and_take_body(served)
    for principal in ("ingest:x", "evidence:x", "audit:x"):
        served.log.append([NewEntry(body.replace(b'"x"', b'"y"'), TOKEN, principal)])
    assert [token["name"] for token in issued_tokens(served.log)] == ["x"]
    for broken in (
        b"",
        b"[]",
        b'{"v":1,"id":"1"}',
        b'{"v":1,"id":"1","digest":"\xc3\xa9","name":"n","scopes":["read"]}',
    ):
        served.log.append([NewEntry(broken, TOKEN, "admin:x")])
    served.fresh()
    assert len(served.tokens) == 1
    served.close()


def create_and_take_body(served: ServedStore) -> bytes:
    create_token(served.log, name="x", scopes=["read"], namespaces=None, expires_at=None, principal="admin:x")
    return served.log.entry(0).body or b""


def test_a_book_opened_later_knows_what_an_earlier_one_knew(
    served: ServedStore, token: Callable[..., str]
) -> None:
    kept, ended = token("read"), token("read")
    revoke_token(served.log, ended.split("_")[1], "admin:test")
    book = TokenBook(served.fresh(), served.clock)
    assert book.caller(kept) is not None
    assert book.caller(ended) is None
    served.close()


def test_what_was_skipped_hides_no_token(served: ServedStore) -> None:
    """A token between this server's own entries is read, whatever order the acknowledgements come in."""
    served._stopping.set()
    served._thread.join()
    book = TokenBook(served.index, served.clock)
    body = b'{"run":{"runId":"%d"}}'
    own = [served.log.append([NewEntry(body % n, "application/x", "ingest:x")])[0] for n in range(3)]
    made = create_token(
        served.log, name="x", scopes=["read"], namespaces=None, expires_at=None, principal="admin:x"
    )
    later = served.log.append([NewEntry(body % n, "application/x", "ingest:x") for n in (7, 8)])
    for indexes in (own[:1], [own[2], own[0]], own[1:], later, [own[0], later[-1]]):
        book.skip(indexes)
    assert book._seen == 3
    book.follow(served.log, served.log.size())
    assert book.caller(made) is not None
    served.close()


def test_no_token_stands_in_clear_anywhere(
    client: TestClient,
    served: ServedStore,
    token: Callable[..., str],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG)
    made = token("read")
    secret = made.split("_", 2)[2]
    client.get("/metrics", headers={"authorization": f"Bearer {made}"})
    client.post("/api/v1/lineage", content=b"{", headers={"authorization": f"Bearer {made}"})
    client.post(TOKENS, json={"name": made, "scopes": [made]})
    assert secret not in caplog.text
    assert secret not in repr(served.tokens) + repr(vars(served.tokens))
    assert all(secret.encode() not in (entry.body or b"") for entry in served.log.entries())
    assert all(secret.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_the_command_prints_the_token_alone(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    open_storage(store, create=True).close()
    at = ["--store", store]
    run = CliRunner().invoke
    made = run(cli, ["token", "create", "--scopes", "ingest, read", "--name", "etl", "--expires", "90d", *at])
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    assert made.stdout == f"{token}\n"
    assert token.startswith("gov_")
    listed = run(cli, ["token", "list", *at])
    assert "etl" in listed.output
    assert token.split("_")[2] not in listed.output
    assert run(cli, ["token", "revoke", token.split("_")[1], *at]).exit_code == 0
    log = Log(open_storage(store), signer=None, clock=lambda: None)  # type: ignore[arg-type,return-value]
    assert issued_tokens(log)[0]["revoked_by"] == 1
    log.close()
    unknown = run(cli, ["token", "revoke", "0000000000000000", *at])
    assert isinstance(unknown.exception, AccessError)
    for expires in ("yesterday", "2020-01-01", "0d"):
        assert run(cli, ["token", "create", "--scopes", "read", "--expires", expires, *at]).exit_code == 2
    for scopes, name in (("", "x"), ("root", "x"), ("read", "Bad Name")):
        assert isinstance(
            run(cli, ["token", "create", "--scopes", scopes, "--name", name, *at]).exception, AccessError
        )
