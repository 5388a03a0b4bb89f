"""``gcp-kms:`` keys: a MAC key of Google Cloud KMS for each epoch.

    gcp-kms:projects/P/locations/L/keyRings/R/PREFIX[?destroy_days=30&protection=software|hsm]

The epoch key is MacSign under version 1 of the key ``PREFIX-STORE-EPOCH`` (purpose MAC, HMAC_SHA256).
Destroying an epoch is DestroyCryptoKeyVersion: KMS refuses the version at once, an administrator may restore
it for ``destroy_days``, and then its state is DESTROYED, which is what confirms. Credentials are Google's
application default credentials; the SDK finds them.

The principal needs cloudkms.cryptoKeys.create, get, list and update, cloudkms.cryptoKeyVersions.get, destroy
and useToSign on the key ring.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Any

from governance.keys.providers.provider import Passphrase
from governance.keys.providers.remote import (
    ATTEMPTS,
    READ_SECONDS,
    RemoteProvider,
    malformed,
    missing,
    options,
)

_URI = re.compile(
    r"gcp-kms:(projects/[a-z0-9.:-]{1,100}/locations/[a-z0-9-]{1,40}/keyRings/[A-Za-z0-9_-]{1,63})"
    r"/([A-Za-z0-9_-]{1,20})(?:\?(.*))?"
)
_OPTIONS = {
    "destroy_days": re.compile(r"[1-9]|[1-9][0-9]|1[01][0-9]|120"),
    "protection": re.compile("software|hsm"),
}
_DEFAULT_DAYS = 30
_STATE = "governance-state"
_GENERATING = 40
_PAUSE_SECONDS = 0.25


def open_provider(uri: str, _passphrase: Passphrase | None) -> GcpKmsProvider:
    """The factory that :mod:`governance.keys.providers.provider` registers."""
    found = _URI.fullmatch(uri)
    asked = options(found[3], _OPTIONS) if found else None
    if found is None or asked is None:
        raise malformed(
            "a gcp-kms: key is named by a key ring and a prefix of at most 20 characters",
            "write gcp-kms:projects/P/locations/L/keyRings/R/governance, ?destroy_days= is 1 to 120",
        )
    try:
        from google.auth.exceptions import GoogleAuthError
        from google.cloud.kms_v1 import KeyManagementServiceClient
    except ImportError:
        raise missing("gcp-kms", "google-cloud-kms", "gcp") from None
    try:
        client = KeyManagementServiceClient()
    except GoogleAuthError:
        client = None
    days = int(asked.get("destroy_days", _DEFAULT_DAYS))
    return GcpKmsProvider(uri, client, found[1], found[2], days, hardware=asked.get("protection") == "hsm")


class GcpKmsProvider(RemoteProvider):
    """Keys in one key ring. ``client`` is None where the SDK found no credentials."""

    __slots__ = ("_client", "_days", "_hardware", "_prefix", "_retry", "_ring")

    loggers = (
        "google.cloud.kms_v1.services.key_management_service.client",
        "google.cloud.kms_v1.services.key_management_service.transports.grpc",
        "google.cloud.kms_v1.services.key_management_service.transports.rest",
    )

    def __init__(self, uri: str, client: Any, ring: str, prefix: str, days: int, *, hardware: bool) -> None:
        from google.api_core import exceptions
        from google.api_core.retry import Retry, if_exception_type

        super().__init__(uri)
        self._client = client
        self._ring = ring
        self._prefix = prefix
        self._days = days
        self._hardware = hardware
        passing = if_exception_type(
            exceptions.ServiceUnavailable,
            exceptions.TooManyRequests,
            exceptions.InternalServerError,
            exceptions.DeadlineExceeded,
        )
        limit = READ_SECONDS * ATTEMPTS
        self._retry = Retry(predicate=passing, initial=0.2, maximum=2.0, multiplier=2.0, timeout=limit)

    def _held(self, store: str) -> dict[int, str | None]:
        begins = f"{self._ring}/cryptoKeys/{self._prefix}"
        listed = self._call(self._client.list_crypto_keys, parent=self._ring)
        # Keys cannot be deleted, only emptied: a label spares asking for each one that ever was.
        names = (key.name for key in listed if _STATE not in key.labels)
        epochs = self._named(store, names, begins)
        versions = {epoch: self._version(store, epoch) for epoch in epochs}
        return {
            epoch: self._waits(epoch, version)
            for epoch, version in versions.items()
            if version is not None and version.state.name != "DESTROYED"
        }

    def _make(self, store: str, epoch: int) -> None:
        from google.api_core.exceptions import AlreadyExists

        key = {
            "purpose": "MAC",
            "version_template": {
                "algorithm": "HMAC_SHA256",
                "protection_level": "HSM" if self._hardware else "SOFTWARE",
            },
            "destroy_scheduled_duration": {"seconds": self._days * 86_400},
            "labels": {"governance-store": store, "governance-epoch": str(epoch)},
        }
        name = f"{self._prefix}-{store}-{epoch}"
        with suppress(AlreadyExists):
            self._call(self._client.create_crypto_key, parent=self._ring, crypto_key_id=name, crypto_key=key)
        for _ in range(_GENERATING):
            version = self._version(store, epoch)
            if version is None or version.state.name != "PENDING_GENERATION":
                return
            time.sleep(_PAUSE_SECONDS)

    def _authenticated(self, store: str, epoch: int, message: bytes) -> bytes | None:
        from google.api_core.exceptions import FailedPrecondition, NotFound

        try:
            answer = self._call(self._client.mac_sign, name=self._version_name(store, epoch), data=message)
        except NotFound:
            return None
        except FailedPrecondition:
            version = self._version(store, epoch)
            if version is not None and version.state.name == "ENABLED":
                raise
            return None
        mac: bytes = answer.mac
        return mac

    def _destroy(self, store: str, epoch: int) -> str | None:
        version = self._version(store, epoch)
        if version is not None and version.state.name not in ("DESTROYED", "DESTROY_SCHEDULED"):
            version = self._call(self._client.destroy_crypto_key_version, name=version.name)
        if version is None:
            return None
        if version.state.name != "DESTROYED":
            return self._waits(epoch, version)
        labels = {"governance-store": store, "governance-epoch": str(epoch), _STATE: "destroyed"}
        self._call(
            self._client.update_crypto_key,
            crypto_key={"name": self._key_name(store, epoch), "labels": labels},
            update_mask={"paths": ["labels"]},
        )
        return None

    def _waits(self, epoch: int, version: Any) -> str | None:
        if version.state.name == "ENABLED":
            return None
        if version.state.name != "DESTROY_SCHEDULED":
            state = version.state.name.lower().replace("_", " ")
            return f"Google Cloud KMS holds the key of epoch {epoch}, which is {state}"
        day = version.destroy_time.strftime("%Y-%m-%d")
        return f"Google Cloud KMS destroys the key of epoch {epoch} on {day}; until then it can be restored"

    def _version(self, store: str, epoch: int) -> Any | None:
        from google.api_core.exceptions import NotFound

        try:
            return self._call(self._client.get_crypto_key_version, name=self._version_name(store, epoch))
        except NotFound:
            return None

    def _key_name(self, store: str, epoch: int) -> str:
        return f"{self._ring}/cryptoKeys/{self._prefix}-{store}-{epoch}"

    def _version_name(self, store: str, epoch: int) -> str:
        return f"{self._key_name(store, epoch)}/cryptoKeyVersions/1"

    def _call(self, method: Any, **request: Any) -> Any:
        return method(request=request, retry=self._retry, timeout=READ_SECONDS)

    def _faults(self) -> tuple[type[Exception], ...]:
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.auth.exceptions import GoogleAuthError

        return (GoogleAPICallError, RetryError, GoogleAuthError)

    def _before_asking(self) -> None:
        if self._client is None:
            from google.api_core.exceptions import Unauthorized

            raise Unauthorized("no credentials")  # type: ignore[no-untyped-call]
