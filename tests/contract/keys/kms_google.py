"""A stand-in for Google Cloud KMS over gRPC, with the messages of Google's own package.

Google has no emulator of KMS. The official client speaks to this over its default transport.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.cloud.kms_v1.types import resources, service
from kms_http import Misbehaving

_SERVICE = "google.cloud.kms.v1.KeyManagementService"
_STATE = resources.CryptoKeyVersion.CryptoKeyVersionState


class _Refused(Exception):
    def __init__(self, code: grpc.StatusCode) -> None:
        self.code = code


class GoogleServer:
    def __init__(self) -> None:
        self.faults = Misbehaving()
        self.keys: dict[str, resources.CryptoKey] = {}
        self.versions: dict[str, tuple[resources.CryptoKeyVersion, bytes]] = {}
        self._server = grpc.server(ThreadPoolExecutor(4))
        methods = {
            "ListCryptoKeys": (self._list, service.ListCryptoKeysRequest, service.ListCryptoKeysResponse),
            "CreateCryptoKey": (self._create, service.CreateCryptoKeyRequest, resources.CryptoKey),
            "UpdateCryptoKey": (self._update, service.UpdateCryptoKeyRequest, resources.CryptoKey),
            "GetCryptoKeyVersion": (
                self._get,
                service.GetCryptoKeyVersionRequest,
                resources.CryptoKeyVersion,
            ),
            "DestroyCryptoKeyVersion": (
                self._destroy,
                service.DestroyCryptoKeyVersionRequest,
                resources.CryptoKeyVersion,
            ),
            "MacSign": (self._sign, service.MacSignRequest, service.MacSignResponse),
        }
        handlers = {name: self._handler(*each) for name, each in methods.items()}
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(_SERVICE, handlers)])
        self.host = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self.faults.behave()
        self._server.stop(0)

    def add_version(self, key: str) -> None:
        number = sum(name.startswith(f"{key}/") for name in self.versions) + 1
        name = f"{key}/cryptoKeyVersions/{number}"
        version = resources.CryptoKeyVersion(name=name, state=_STATE.ENABLED)
        self.versions[name] = (version, os.urandom(32))

    def expire(self) -> None:
        """What happens when the time to restore is over."""
        for version, _ in self.versions.values():
            if version.state == _STATE.DESTROY_SCHEDULED:
                version.state = _STATE.DESTROYED

    def _handler(self, act: Callable[[Any], Any], asked: Any, answered: Any) -> grpc.RpcMethodHandler:
        def respond(request: Any, context: grpc.ServicerContext) -> Any:
            if self.faults.fails():
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "quota")
            if self.faults.refused:
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")
            if self.faults.garbage:
                return answered()
            try:
                return act(request)
            except _Refused as refused:
                context.abort(refused.code, "refused")

        return grpc.unary_unary_rpc_method_handler(respond, asked.deserialize, answered.serialize)

    def _list(self, request: Any) -> Any:
        found = [key for name, key in self.keys.items() if name.startswith(f"{request.parent}/")]
        return service.ListCryptoKeysResponse(crypto_keys=found)

    def _create(self, request: Any) -> Any:
        name = f"{request.parent}/cryptoKeys/{request.crypto_key_id}"
        key = request.crypto_key
        if name in self.keys:
            raise _Refused(grpc.StatusCode.ALREADY_EXISTS)
        assert key.purpose.name == "MAC" and key.version_template.algorithm.name == "HMAC_SHA256"
        key.name = name
        self.keys[name] = key
        self.add_version(name)
        return key

    def _update(self, request: Any) -> Any:
        assert list(request.update_mask.paths) == ["labels"]
        self.keys[request.crypto_key.name].labels = request.crypto_key.labels
        return self.keys[request.crypto_key.name]

    def _get(self, request: Any) -> Any:
        if request.name not in self.versions:
            raise _Refused(grpc.StatusCode.NOT_FOUND)
        return self.versions[request.name][0]

    def _destroy(self, request: Any) -> Any:
        version = self._get(request)
        if version.state != _STATE.ENABLED:
            raise _Refused(grpc.StatusCode.FAILED_PRECONDITION)
        version.state = _STATE.DESTROY_SCHEDULED
        key = self.keys[request.name.rpartition("/cryptoKeyVersions/")[0]]
        version.destroy_time = (
            datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + key.destroy_scheduled_duration
        )
        return version

    def _sign(self, request: Any) -> Any:
        if self._get(request).state != _STATE.ENABLED:
            raise _Refused(grpc.StatusCode.FAILED_PRECONDITION)
        mac = hmac.digest(self.versions[request.name][1], request.data, hashlib.sha256)
        return service.MacSignResponse(name=request.name, mac=mac)
