"""A stand-in for Azure Key Vault's keys over TLS, written from Microsoft's REST reference (api-version 7.x).

No emulator of Key Vault can be installed where the tests run. The official client speaks to this, with its
authentication challenge.
"""

from __future__ import annotations

import base64
import datetime
import json
import time
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from kms_http import Answer, HttpServer

TOKEN = "stand-in-token"


@cache
def _private(number: int) -> rsa.RSAPrivateKey:
    """Generating takes long; a few serve, as what is signed is another for each store and epoch."""
    return rsa.generate_private_key(65537, 3072)


def self_signed(path: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, in one PEM file."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, True, False, False, False), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    return path


class AzureServer(HttpServer):
    def __init__(self, certificate: Path) -> None:
        self.keys: dict[str, list[dict[str, Any]]] = {}
        self.deleted: dict[str, list[dict[str, Any]]] = {}
        self.purge_protected = True
        for number in range(2):
            _private(number)
        super().__init__(certificate)

    def challenge(self) -> dict[str, str]:
        # The client wants the resource to be a parent domain of the vault's host.
        resource = self.host.removeprefix("127.")
        return {
            "WWW-Authenticate": 'Bearer authorization="https://login.microsoftonline.com/tenant", '
            f'resource="https://{resource}"'
        }

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {}
        if self.faults.refused:
            return 403, {"error": {"code": "Forbidden", "message": "no"}}
        collection, *rest = urlsplit(path).path.strip("/").split("/")
        sent = json.loads(body) if body else {}
        if collection == "deletedkeys":
            return self._of_deleted(method, rest)
        assert collection == "keys"
        if not rest:
            return 200, {"value": [self._item(name, versions[0]) for name, versions in self.keys.items()]}
        name = rest[0]
        if rest[1:] == ["create"]:
            return self._create(name, sent)
        versions = self.keys.get(name)
        if versions is None:
            return 404, {"error": {"code": "KeyNotFound", "message": "no such key"}}
        if method == "DELETE":
            self.deleted[name] = self.keys.pop(name)
            return 200, self._bundle(name, versions[-1], deleted=True)
        if rest[1:] == ["versions"]:
            return 200, {"value": [self._item(name, each, version=True) for each in reversed(versions)]}
        version = next((each for each in versions if [each["version"]] == rest[1:2]), versions[-1])
        if rest[2:] == ["sign"]:
            return self._sign(name, version, sent)
        return 200, self._bundle(name, version)

    def _create(self, name: str, sent: dict[str, Any]) -> Answer:
        if name in self.deleted:
            return 409, {"error": {"code": "Conflict", "message": "it is deleted but recoverable"}}
        assert sent["kty"] == "RSA" and sent["key_size"] == 3072 and sent["key_ops"] == ["sign"]
        return 200, self._bundle(name, self.add_version(name))

    def add_version(self, name: str) -> dict[str, Any]:
        versions = self.keys.setdefault(name, [])
        number = len(versions)
        made = {"version": f"{number:032x}", "private": _private(number % 2), "created": int(time.time())}
        versions.append(made)
        return made

    def _sign(self, name: str, version: dict[str, Any], sent: dict[str, Any]) -> Answer:
        assert sent["alg"] == "RS256"
        digest = base64.urlsafe_b64decode(sent["value"] + "==")
        signature = version["private"].sign(digest, padding.PKCS1v15(), Prehashed(SHA256()))
        return 200, {"kid": self._kid(name, version), "value": _b64(signature)}

    def _of_deleted(self, method: str, rest: list[str]) -> Answer:
        if not rest:
            listed = [self._item(name, each[0], deleted=True) for name, each in self.deleted.items()]
            return 200, {"value": listed}
        held = self.deleted.get(rest[0])
        if held is None:
            return 404, {"error": {"code": "KeyNotFound", "message": "no such deleted key"}}
        if method == "DELETE":
            if self.purge_protected:
                return 403, {"error": {"code": "Forbidden", "message": "purge protection is on"}}
            del self.deleted[rest[0]]
            return 204, None
        return 200, self._bundle(rest[0], held[-1], deleted=True)

    def _kid(self, name: str, version: dict[str, Any]) -> str:
        return f"https://{self.host}/keys/{name}/{version['version']}"

    def _item(
        self, name: str, key: dict[str, Any], *, deleted: bool = False, version: bool = False
    ) -> dict[str, Any]:
        whole = self._bundle(name, key, deleted=deleted)
        kid = whole["key"]["kid"] if version else f"https://{self.host}/keys/{name}"
        return {"kid": kid, **{key: value for key, value in whole.items() if key != "key"}}

    def _bundle(self, name: str, version: dict[str, Any], *, deleted: bool = False) -> dict[str, Any]:
        numbers = version["private"].public_key().public_numbers()
        level = "Recoverable" if self.purge_protected else "Recoverable+Purgeable"
        found: dict[str, Any] = {
            "key": {
                "kid": self._kid(name, version),
                "kty": "RSA",
                "key_ops": ["sign"],
                "n": _b64(numbers.n.to_bytes(384, "big")),
                "e": _b64(numbers.e.to_bytes(3, "big")),
            },
            "attributes": {
                "enabled": True,
                "created": version["created"],
                "updated": version["created"],
                "recoveryLevel": level,
                "recoverableDays": 7,
            },
        }
        if deleted:
            found["recoveryId"] = f"https://{self.host}/deletedkeys/{name}"
            found["deletedDate"] = version["created"]
            found["scheduledPurgeDate"] = version["created"] + 7 * 86_400
        return found


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
