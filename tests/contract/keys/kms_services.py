"""Each provider with the service it speaks to, behind one interface for the suite.

``file:`` is real. ``aws-kms:`` speaks over the wire to moto's server, through a gate that can misbehave.
``vault:``, ``gcp-kms:`` and ``azure-kv:`` speak, through their official clients, to stand-ins written from
the services' documentation: none of the three was tried against the service itself.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kms_azure import TOKEN as AZURE_TOKEN
from kms_azure import AzureServer, self_signed
from kms_google import GoogleServer
from kms_http import Answer, HttpServer
from kms_vault import TOKEN as VAULT_TOKEN
from kms_vault import VaultServer

from governance.keys.providers.file import create_file_key
from governance.keys.providers.provider import KeyProvider, provider_for


class Service:
    """What the suite asks of a service. ``server`` is None where nothing can go wrong on the way."""

    scheme: str
    server: Any = None
    standing: tuple[str, ...] = ()
    agrees_on_races = True
    another = "GOV-303"

    def uri(self, prefix: str = "governance") -> str:
        raise NotImplementedError

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Set what the official client reads, and time limits that a busy machine keeps."""
        for name in ("CONNECT_SECONDS", "READ_SECONDS"):
            for module in ("aws_kms", "hashicorp_vault", "gcp_kms", "azure_key_vault"):
                monkeypatch.setattr(f"governance.keys.providers.{module}.{name}", 30.0, raising=False)

    def open(self, prefix: str = "governance") -> KeyProvider:
        return provider_for(self.uri(prefix))

    def without_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        raise NotImplementedError

    def away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Point the client at a port where nobody listens."""
        raise NotImplementedError

    def turn(self, store: str, epoch: int) -> None:
        """Give the epoch's key a new version inside the service."""
        raise NotImplementedError

    def replace(self, store: str, epoch: int) -> None:
        """Put other key material in the place of the epoch's."""
        raise NotImplementedError

    def expire(self) -> None:
        """Let the time pass after which nobody can bring a destroyed key back."""

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()


class FileService(Service):
    scheme = "file"
    standing = ("backups of the epochs file",)
    another = "GOV-302"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for name in ("governance", "another"):
            create_file_key(directory / name)
        self._epochs = directory / "governance.epochs.json"

    def uri(self, prefix: str = "governance") -> str:
        if prefix == "another" and self._epochs.exists():
            # Another KEK beside the same epochs, not another place without any.
            other = self._directory / "another.epochs.json"
            other.write_bytes(self._epochs.read_bytes())
            other.chmod(0o600)
        return f"file:{self._directory / prefix}"

    def replace(self, store: str, epoch: int) -> None:
        document = json.loads(self._epochs.read_bytes())
        sealed = bytearray(base64.b64decode(document["stores"][store][str(epoch)]))
        sealed[-1] ^= 1
        document["stores"][store][str(epoch)] = base64.b64encode(sealed).decode()
        self._epochs.write_text(json.dumps(document))


class _Gate(HttpServer):
    """Passes requests on to moto, unless it is to misbehave."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        super().__init__()

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        if self.faults.refused:
            return 400, {"__type": "AccessDeniedException"}
        connection = http.client.HTTPConnection(self._upstream, timeout=20)
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, answer


class AwsService(Service):
    scheme = "aws-kms"

    def __init__(self) -> None:
        from botocore.loaders import create_loader
        from moto.server import ThreadedMotoServer

        self._loader = create_loader()
        self._moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._moto.start()
        host, port = self._moto.get_host_and_port()
        self.server = _Gate(f"{host}:{port}")

    def uri(self, prefix: str = "governance") -> str:
        return f"aws-kms:eu-central-1/{prefix}"

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import boto3.session
        import botocore.session

        def session() -> boto3.session.Session:
            """As boto3 makes it, but for the models of the services, which are read from disk once."""
            made = botocore.session.Session()
            made.register_component("data_loader", self._loader)
            return boto3_session(botocore_session=made)

        super().use(monkeypatch)
        boto3_session = boto3.session.Session
        monkeypatch.setattr(boto3.session, "Session", session)
        for name, value in {
            "AWS_ENDPOINT_URL_KMS": f"http://{self.server.host}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "hunter22hunter22",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            monkeypatch.setenv(name, value)

    def without_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")

    def away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:9")

    def _backend(self) -> Any:
        from moto.kms.models import kms_backends

        return kms_backends["123456789012"]["eu-central-1"]

    def replace(self, store: str, epoch: int) -> None:
        backend = self._backend()
        key = backend.get_key_id_from_alias(f"alias/governance-{store}-{epoch}")
        backend.keys[key].key_material = os.urandom(32)

    def expire(self) -> None:
        backend = self._backend()
        for key in [key for key in backend.keys.values() if key.key_state == "PendingDeletion"]:
            backend.delete_key(key.id)

    def stop(self) -> None:
        super().stop()
        self._moto.stop()


class VaultService(Service):
    scheme = "vault"
    standing = ("snapshots and storage backups of Vault that were made before",)

    def __init__(self) -> None:
        self.server = VaultServer()
        self._host = self.server.host

    def uri(self, prefix: str = "governance") -> str:
        return f"vault:http://{self._host}/transit/{prefix}"

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().use(monkeypatch)
        self._host = self.server.host
        monkeypatch.setenv("VAULT_TOKEN", VAULT_TOKEN)

    def without_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("VAULT_TOKEN")
        monkeypatch.setenv("HOME", "/nonexistent")

    def away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self, "_host", "127.0.0.1:9")

    def turn(self, store: str, epoch: int) -> None:
        self.server.keys[f"governance-{store}-{epoch}"]["versions"].append(os.urandom(32))

    def replace(self, store: str, epoch: int) -> None:
        self.server.keys[f"governance-{store}-{epoch}"]["versions"] = [os.urandom(32)]


class GoogleService(Service):
    scheme = "gcp-kms"
    _RING = "projects/p/locations/europe-west3/keyRings/r"

    def __init__(self) -> None:
        self.server = GoogleServer()

    def uri(self, prefix: str = "governance") -> str:
        return f"gcp-kms:{self._RING}/{prefix}"

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().use(monkeypatch)
        self._connect(monkeypatch, self.server.host)

    def _connect(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        import grpc
        from google.cloud import kms_v1
        from google.cloud.kms_v1.services.key_management_service import KeyManagementServiceClient
        from google.cloud.kms_v1.services.key_management_service.transports import (
            KeyManagementServiceGrpcTransport,
        )

        transport = KeyManagementServiceGrpcTransport(channel=grpc.insecure_channel(host))
        client = partial(KeyManagementServiceClient, transport=transport)
        monkeypatch.setattr(kms_v1, "KeyManagementServiceClient", client)

    def without_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from google.cloud import kms_v1
        from google.cloud.kms_v1.services.key_management_service import KeyManagementServiceClient

        monkeypatch.setattr(kms_v1, "KeyManagementServiceClient", KeyManagementServiceClient)
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        monkeypatch.setenv("NO_GCE_CHECK", "true")
        monkeypatch.setenv("CLOUDSDK_CONFIG", "/nonexistent")

    def away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._connect(monkeypatch, "127.0.0.1:9")

    def _key(self, store: str, epoch: int) -> str:
        return f"{self._RING}/cryptoKeys/governance-{store}-{epoch}"

    def turn(self, store: str, epoch: int) -> None:
        self.server.add_version(self._key(store, epoch))

    def replace(self, store: str, epoch: int) -> None:
        name = f"{self._key(store, epoch)}/cryptoKeyVersions/1"
        self.server.versions[name] = (self.server.versions[name][0], os.urandom(32))

    def expire(self) -> None:
        self.server.expire()


class AzureService(Service):
    scheme = "azure-kv"
    # A second creation is a second version there; see the provider.
    agrees_on_races = False

    def __init__(self, directory: Path) -> None:
        self._certificate = self_signed(directory / "stand-in.pem")
        self.server = AzureServer(self._certificate)
        self._host = self.server.host

    def uri(self, prefix: str = "governance") -> str:
        return f"azure-kv:{self._host}/{prefix}"

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from azure.core.credentials import AccessToken

        class Credential:
            def get_token(self, *scopes: str, **_: Any) -> AccessToken:
                return AccessToken(AZURE_TOKEN, 4_102_444_800)

        super().use(monkeypatch)
        self.server.purge_protected = True
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(self._certificate))
        monkeypatch.setattr("azure.identity.DefaultAzureCredential", Credential)

    def without_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from azure.identity import CredentialUnavailableError

        class Nobody:
            def get_token(self, *scopes: str, **_: Any) -> Any:
                raise CredentialUnavailableError("nobody is logged in")

        monkeypatch.setattr("azure.identity.DefaultAzureCredential", Nobody)

    def away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self, "_host", "127.0.0.1:9")

    def turn(self, store: str, epoch: int) -> None:
        self.server.add_version(f"governance-{store}-{epoch}")

    def replace(self, store: str, epoch: int) -> None:
        versions = self.server.keys[f"governance-{store}-{epoch}"]
        self.server.add_version(f"governance-{store}-{epoch}")
        del versions[0]

    def expire(self) -> None:
        self.server.deleted.clear()
