"""``azure-kv:`` keys: an RSA key of Azure Key Vault, or of a Managed HSM, for each epoch.

    azure-kv:HOST/PREFIX[?hsm=yes]          HOST such as meridian.vault.azure.net

Key Vault has no MAC, so the epoch key is drawn (HKDF, RFC 5869) from the RSASSA-PKCS1-v1_5 signature (RFC
8017 §8.2, RS256) of the store's id and the epoch: of a message and a key there is one such signature, and
only the holder of the private key can compute it. It is made by the first version of the key
``PREFIX-STORE-EPOCH``, so a rotation policy changes nothing. The keys sign nothing else; their permissions
must say so, for whoever may sign with them has the epoch key.

Destroying an epoch deletes the key and purges it. Where purge protection is on, or the principal may not
purge, Azure keeps it recoverable until its date and the word is *pending*. Credentials are those that
``DefaultAzureCredential`` finds.

The principal needs keys/create, get, list, sign, delete and purge (get and list are asked of deleted keys too).
"""

from __future__ import annotations

import hashlib
import re
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
from governance.keys.sealing import derive

_URI = re.compile(r"azure-kv:([a-z0-9-]+(?:\.[a-z0-9-]+)+(?::[0-9]{1,5})?)/([A-Za-z0-9-]{1,60})(?:\?(.*))?")
_OPTIONS = {"hsm": re.compile("yes|no")}
_BITS = 3072


def open_provider(uri: str, _passphrase: Passphrase | None) -> AzureKeyVaultProvider:
    """The factory that :mod:`governance.keys.providers.provider` registers."""
    found = _URI.fullmatch(uri)
    asked = options(found[3], _OPTIONS) if found else None
    if found is None or asked is None:
        raise malformed(
            "an azure-kv: key is named by the vault's host and a prefix of letters, digits and hyphens",
            "write azure-kv:NAME.vault.azure.net/governance, and ?hsm=yes for keys kept in hardware",
        )
    try:
        from azure.identity import DefaultAzureCredential
        from azure.keyvault.keys import KeyClient
    except ImportError:
        raise missing("azure-kv", "azure-keyvault-keys", "azure") from None
    client = KeyClient(
        f"https://{found[1]}",
        DefaultAzureCredential(),
        retry_total=ATTEMPTS - 1,
        retry_backoff_factor=0.2,
        retry_backoff_max=2,
        timeout=READ_SECONDS * ATTEMPTS,
        connection_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
    )
    return AzureKeyVaultProvider(uri, client, found[2], hardware=asked.get("hsm") == "yes")


class AzureKeyVaultProvider(RemoteProvider):
    """Keys in one vault.

    Azure makes a new version where a key's name is taken, so two processes that make one epoch within a
    second might not agree: the key store's lock, which is held meanwhile, is what keeps them apart.
    """

    __slots__ = ("_client", "_hardware", "_prefix")

    loggers = ("azure.core.pipeline.policies.http_logging_policy", "azure.core.pipeline.policies._universal")

    def __init__(self, uri: str, client: Any, prefix: str, *, hardware: bool) -> None:
        super().__init__(uri)
        self._client = client
        self._prefix = prefix
        self._hardware = hardware

    def _held(self, store: str) -> dict[int, str | None]:
        listed = {key.name: key for key in self._client.list_properties_of_keys()}
        deleted = {key.name: key for key in self._client.list_deleted_keys()}
        live = self._named(store, iter(listed), self._prefix)
        held: dict[int, str | None] = {
            epoch: self._recoverable(epoch, deleted[name])
            for epoch, name in self._named(store, iter(deleted), self._prefix).items()
        }
        return held | {
            epoch: None
            if listed[name].enabled is not False
            else f"Azure Key Vault holds the key of epoch {epoch}, which is disabled"
            for epoch, name in live.items()
        }

    def _make(self, store: str, epoch: int) -> None:
        name = self._name(store, epoch)
        if self._first_version(name) is None and self._deleted(name) is None:
            self._client.create_rsa_key(
                name,
                size=_BITS,
                hardware_protected=self._hardware,
                key_operations=["sign"],
                tags={"governance-store": store, "governance-epoch": str(epoch)},
            )

    def _authenticated(self, store: str, epoch: int, message: bytes) -> bytes | None:
        from azure.keyvault.keys.crypto import SignatureAlgorithm

        name = self._name(store, epoch)
        version = self._first_version(name)
        if version is None or version.enabled is False:
            return None
        signing = self._client.get_cryptography_client(name, key_version=version.version)
        signature = signing.sign(SignatureAlgorithm.rs256, hashlib.sha256(message).digest()).signature
        if len(signature) * 8 != _BITS:
            return b""
        return derive(signature, "governance epoch key by signature v1", store, epoch)

    def _destroy(self, store: str, epoch: int) -> str | None:
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

        name = self._name(store, epoch)
        try:
            deleting = self._client.begin_delete_key(name)
            deleting.wait(timeout=READ_SECONDS * ATTEMPTS)
        except ResourceNotFoundError:
            pass
        deleted = self._deleted(name)
        if deleted is not None and "Purgeable" in str(deleted.properties.recovery_level):
            try:
                self._client.purge_deleted_key(name)
            except HttpResponseError as fault:
                # The principal may lack keys/purge: then it is the retention that ends it.
                if fault.status_code not in (403, 404, 409):
                    raise
            deleted = self._deleted(name)
        return None if deleted is None else self._recoverable(epoch, deleted)

    def _first_version(self, name: str) -> Any | None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            versions = list(self._client.list_properties_of_key_versions(name))
        except ResourceNotFoundError:
            return None
        return min(versions, key=lambda version: (version.created_on, version.version), default=None)

    def _deleted(self, name: str) -> Any | None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return self._client.get_deleted_key(name)
        except ResourceNotFoundError:
            return None

    def _recoverable(self, epoch: int, deleted: Any) -> str:
        day = deleted.scheduled_purge_date
        when = "at a date it does not say" if day is None else f"on {day:%Y-%m-%d}"
        return f"Azure Key Vault purges the key of epoch {epoch} {when}; until then it can be recovered"

    def _name(self, store: str, epoch: int) -> str:
        return f"{self._prefix}-{store}-{epoch}"

    def _faults(self) -> tuple[type[Exception], ...]:
        from azure.core.exceptions import AzureError

        return (AzureError,)

    def _said(self, fault: Exception) -> str:
        status = getattr(fault, "status_code", None)
        return f"{type(fault).__name__} {status}" if status else type(fault).__name__
