"""What a provider's URI may say; nothing of it is repeated where it is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from governance.errors import GovernanceError, ProtectionError
from governance.keys.providers.provider import provider_for

_RING = "projects/p/locations/europe-west3/keyRings/r"


@pytest.mark.parametrize(
    "uri",
    [
        "aws-kms:",
        "aws-kms:governance",
        "aws-kms:eu-central-1/",
        "aws-kms:eu-central-1/a b",
        "aws-kms:eu-central-1/governance?deletion_days=6",
        "aws-kms:eu-central-1/governance?deletion_days=31",
        "aws-kms:eu-central-1/governance?deletion_days=7&deletion_days=8",
        "aws-kms:eu-central-1/governance?secret=hunter22",
        "vault:",
        "vault:transit/governance",
        "vault:http://vault.example.org:8200/transit/governance",
        "vault:https://hunter22@vault.example.org/transit/governance",
        "vault:https://vault.example.org/governance",
        "vault:https://vault.example.org/transit/governance?token=hunter22",
        "vault:https://vault.example.org/transit/governance?token_file=relative",
        "gcp-kms:",
        f"gcp-kms:{_RING}",
        f"gcp-kms:{_RING}/{'a' * 21}",
        f"gcp-kms:{_RING}/governance?destroy_days=0",
        f"gcp-kms:{_RING}/governance?destroy_days=121",
        f"gcp-kms:{_RING}/governance?protection=hunter22",
        "azure-kv:",
        "azure-kv:localhost/governance",
        "azure-kv:https://name.vault.azure.net/governance",
        "azure-kv:name.vault.azure.net/a_b",
        "azure-kv:name.vault.azure.net/governance?hsm=hunter22",
    ],
)
def test_malformed(uri: str) -> None:
    with pytest.raises(ProtectionError, match="GOV-301") as caught:
        provider_for(uri)
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "package"),
    [
        ("aws-kms:eu-central-1/governance", "boto3"),
        ("vault:https://vault.example.org/transit/governance", "hvac"),
        (f"gcp-kms:{_RING}/governance", "google.cloud.kms_v1"),
        ("azure-kv:name.vault.azure.net/governance", "azure.keyvault.keys"),
    ],
)
def test_a_client_library_that_is_not_installed(
    uri: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(GovernanceError, match=r"(?s)GOV-902.*install airflow-governance\[") as caught:
        provider_for(uri)
    assert caught.value.code == "GOV-902"


def test_a_token_file_is_read_anew_and_its_absence_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("governance.keys.providers.hashicorp_vault.CONNECT_SECONDS", 0.1)
    token = tmp_path / "token"
    provider = provider_for(f"vault:http://127.0.0.1:9/transit/governance?token_file={token}")
    with pytest.raises(ProtectionError, match=r"GOV-309.*FileNotFoundError"):
        provider.epochs("store")
    token.write_text("\n")
    with pytest.raises(ProtectionError, match=r"GOV-309.*Unauthorized"):
        provider.epochs("store")
