"""``vault:`` keys: a transit key of HashiCorp Vault, or of OpenBao, for each epoch.

    vault:https://HOST:PORT/MOUNT/PREFIX[?namespace=NAME&token_file=PATH]

The epoch key is ``POST MOUNT/hmac/PREFIX-STORE-EPOCH/sha2-256`` under version 1 of that key, so turning the
key to a new version inside Vault changes nothing. Keys are made neither exportable nor open to plaintext
backup. Destroying an epoch allows the key's deletion and deletes it: Vault has it no longer when the call
returns. What Vault cannot know is which snapshots or storage backups of it somebody keeps, so its word is
*pending* those. Address, namespace and the file with the token stand in the URI; without ``token_file`` the
token is ``VAULT_TOKEN``'s or ``~/.vault-token``'s, TLS is ``VAULT_CACERT``'s, as for Vault's own client.

The token needs, under ``MOUNT/``: list on ``keys``; create, read, update and delete on ``keys/PREFIX-*``;
update on ``hmac/PREFIX-*``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from governance.keys.providers.provider import Passphrase
from governance.keys.providers.remote import (
    ATTEMPTS,
    CONNECT_SECONDS,
    READ_SECONDS,
    RemoteProvider,
    malformed,
    missing,
    options,
)

_URI = re.compile(
    r"vault:(https?)://([A-Za-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?"
    r"/([A-Za-z0-9/_-]{1,100})/([A-Za-z0-9_-]{1,100})(?:\?(.*))?"
)
_OPTIONS = {
    "namespace": re.compile(r"[A-Za-z0-9/_-]{1,200}"),
    "token_file": re.compile(r"/[^\0]{1,1000}"),
}
_LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})
_VERSION = 1
_MAC = re.compile(r"vault:v1:([A-Za-z0-9+/=]+)")
_AGAIN = (412, 429, 472, 473, 500, 502, 503, 504)


def open_provider(uri: str, _passphrase: Passphrase | None) -> VaultProvider:
    """The factory that :mod:`governance.keys.providers.provider` registers."""
    found = _URI.fullmatch(uri)
    asked = options(found[6], _OPTIONS) if found else None
    if found is None or asked is None or (found[1] == "http" and found[2] not in _LOCAL):
        raise malformed(
            "a vault: key is named by Vault's https address, the transit engine's mount and a prefix",
            "write vault:https://vault.example.org:8200/transit/governance; http only to this machine",
        )
    try:
        import hvac
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util.retry import Retry
    except ImportError:
        raise missing("vault", "hvac", "vault") from None
    retry = Retry(
        total=ATTEMPTS - 1,
        backoff_factor=0.2,
        status_forcelist=_AGAIN,
        allowed_methods=None,
        raise_on_status=False,
        # It would wait as long as it is told to.
        respect_retry_after_header=False,
    )
    address = f"{found[1]}://{found[2]}{found[3] or ''}"
    client = hvac.Client(
        address,
        timeout=(CONNECT_SECONDS, READ_SECONDS),
        namespace=asked.get("namespace"),
        # A redirect would carry the token to whatever host it names.
        allow_redirects=False,
    )
    session: requests.Session = client.session
    session.mount(address, HTTPAdapter(max_retries=retry))
    token = asked.get("token_file")
    return VaultProvider(uri, client, found[4], found[5], None if token is None else Path(token))


class VaultProvider(RemoteProvider):
    """Keys in one transit engine."""

    __slots__ = ("_client", "_mount", "_prefix", "_token_file")

    standing = ("snapshots and storage backups of Vault that were made before",)

    def __init__(self, uri: str, client: Any, mount: str, prefix: str, token_file: Path | None) -> None:
        super().__init__(uri)
        self._client = client
        self._mount = mount
        self._prefix = prefix
        self._token_file = token_file

    @property
    def _transit(self) -> Any:
        return self._client.secrets.transit

    def _held(self, store: str) -> dict[int, str | None]:
        from hvac.exceptions import InvalidPath

        try:
            names: Iterator[str] = iter(self._transit.list_keys(mount_point=self._mount)["data"]["keys"])
        except InvalidPath:
            # So Vault says that there is not one.
            return {}
        return dict.fromkeys(self._named(store, names, self._prefix))

    def _make(self, store: str, epoch: int) -> None:
        # Vault leaves a key that exists as it is.
        self._transit.create_key(
            self._name(store, epoch),
            key_type="aes256-gcm96",
            exportable=False,
            allow_plaintext_backup=False,
            mount_point=self._mount,
        )

    def _authenticated(self, store: str, epoch: int, message: bytes) -> bytes | None:
        from hvac.exceptions import InvalidPath, InvalidRequest

        name = self._name(store, epoch)
        try:
            answer = self._transit.generate_hmac(
                name,
                base64.b64encode(message).decode(),
                key_version=_VERSION,
                algorithm="sha2-256",
                mount_point=self._mount,
            )
        except (InvalidPath, InvalidRequest):
            if self._exists(name):
                raise
            return None
        found = _MAC.fullmatch(answer["data"]["hmac"])
        return b"" if found is None else base64.b64decode(found[1], validate=True)

    def _destroy(self, store: str, epoch: int) -> str | None:
        from hvac.exceptions import InvalidPath, InvalidRequest

        name = self._name(store, epoch)
        try:
            self._transit.update_key_configuration(name, deletion_allowed=True, mount_point=self._mount)
            self._transit.delete_key(name, mount_point=self._mount)
        except (InvalidPath, InvalidRequest):
            if self._exists(name):
                raise
        return f"Vault still holds the key of epoch {epoch}" if self._exists(name) else None

    def _exists(self, name: str) -> bool:
        from hvac.exceptions import InvalidPath

        try:
            self._transit.read_key(name, mount_point=self._mount)
        except InvalidPath:
            return False
        return True

    def _name(self, store: str, epoch: int) -> str:
        return f"{self._prefix}-{store}-{epoch}"

    def _faults(self) -> tuple[type[Exception], ...]:
        from hvac.exceptions import VaultError
        from requests.exceptions import RequestException

        return (VaultError, RequestException, OSError)

    def _before_asking(self) -> None:
        if self._token_file is not None:
            # Vault's agent replaces the file whenever it renews.
            self._client.token = self._token_file.read_text("utf-8").strip()
        if not self._client.token:
            from hvac.exceptions import Unauthorized

            raise Unauthorized("no token")
