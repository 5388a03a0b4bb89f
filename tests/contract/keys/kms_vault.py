"""A stand-in for Vault's transit engine over HTTP, written from HashiCorp's API documentation.

No Vault or OpenBao can be installed where the tests run. The official client, hvac, speaks to this.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from typing import Any

from kms_http import Answer, HttpServer

TOKEN = "hvs.stand-in"


class VaultServer(HttpServer):
    def __init__(self) -> None:
        self.keys: dict[str, dict[str, Any]] = {}
        super().__init__()

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        if headers.get("X-Vault-Token") != TOKEN or self.faults.refused:
            return 403, {"errors": ["permission denied"]}
        version, mount, kind, *rest = path.strip("/").split("/")
        assert (version, mount) == ("v1", "transit")
        sent = json.loads(body) if body else {}
        if kind == "keys" and not rest:
            assert method == "LIST"
            return (200, {"data": {"keys": sorted(self.keys)}}) if self.keys else (404, {"errors": []})
        name = rest[0]
        if kind == "hmac":
            return self._hmac(name, sent)
        if method == "POST" and len(rest) == 1:
            if sent.get("exportable") or sent.get("allow_plaintext_backup"):
                return 400, {"errors": ["these tests expect neither"]}
            self.keys.setdefault(name, {"versions": [os.urandom(32)], "deletion_allowed": False})
            return 200, {"data": {"name": name, "type": sent["type"]}}
        key = self.keys.get(name)
        if method == "GET":
            return (404, {"errors": []}) if key is None else (200, {"data": {"name": name}})
        if key is None:
            return 400, {"errors": ["no existing key named that could be found"]}
        if method == "DELETE":
            if not key["deletion_allowed"]:
                return 400, {"errors": ["deletion is not allowed for this key"]}
            del self.keys[name]
            return 204, None
        if rest[1] == "config":
            key["deletion_allowed"] = sent["deletion_allowed"]
        elif rest[1] == "rotate":
            key["versions"].append(os.urandom(32))
        return 200, {"data": {"name": name}}

    def _hmac(self, name: str, sent: dict[str, Any]) -> Answer:
        key = self.keys.get(name)
        if key is None:
            return 400, {"errors": ["encryption key not found"]}
        assert sent["algorithm"] == "sha2-256"
        version = sent.get("key_version") or len(key["versions"])
        if version > len(key["versions"]):
            return 400, {"errors": ["version is too new"]}
        message = base64.b64decode(sent["input"])
        mac = hmac.digest(key["versions"][version - 1], message, hashlib.sha256)
        return 200, {"data": {"hmac": f"vault:v{version}:{base64.b64encode(mac).decode()}"}}
