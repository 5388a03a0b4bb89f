"""``aws-kms:`` keys: an HMAC key of AWS KMS for each epoch.

    aws-kms:REGION/PREFIX[?deletion_days=7]

The epoch key is a MAC by KMS (GenerateMac with an ``HMAC_256`` key, RFC 2104), as
:mod:`governance.keys.providers.remote` says. Each KMS key is found by its alias ``alias/PREFIX-STORE-EPOCH``.
Destroying an epoch is ScheduleKeyDeletion: KMS refuses the key at once, an administrator may cancel for 7
to 30 days, and afterwards no one has it. Credentials, profile and endpoint are those of the AWS SDK.

The principal needs kms:CreateKey, CreateAlias, ListAliases, DescribeKey, GenerateMac, TagResource and
ScheduleKeyDeletion.
"""

from __future__ import annotations

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

_URI = re.compile(r"aws-kms:([a-z]{2}[a-z0-9-]{3,30})/([A-Za-z0-9/_-]{1,100})(?:\?(.*))?")
_OPTIONS = {"deletion_days": re.compile(r"[7-9]|[12][0-9]|30")}
_FEWEST_DAYS = 7
_ALGORITHM = "HMAC_SHA_256"
_GONE = frozenset({"NotFoundException", "KMSInvalidStateException", "DisabledException"})


def open_provider(uri: str, _passphrase: Passphrase | None) -> AwsKmsProvider:
    """The factory that :mod:`governance.keys.providers.provider` registers."""
    found = _URI.fullmatch(uri)
    asked = options(found[3], _OPTIONS) if found else None
    if found is None or asked is None:
        raise malformed(
            "an aws-kms: key is named by a region and a prefix for aliases",
            "write aws-kms:eu-central-1/governance, and ?deletion_days=7 to 30 if you need longer than 7",
        )
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise missing("aws-kms", "boto3", "aws") from None
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "max_attempts": ATTEMPTS},
    )
    # The default session would keep credentials, and is not for several threads.
    client = boto3.session.Session().client("kms", region_name=found[1], config=config)
    return AwsKmsProvider(uri, client, found[2], int(asked.get("deletion_days", _FEWEST_DAYS)))


class AwsKmsProvider(RemoteProvider):
    """Keys in one region of an AWS account."""

    __slots__ = ("_client", "_days", "_prefix")

    loggers = ("botocore.parsers", "botocore.endpoint", "botocore.hooks", "botocore.client")

    def __init__(self, uri: str, client: Any, prefix: str, deletion_days: int) -> None:
        super().__init__(uri)
        self._client = client
        self._prefix = f"alias/{prefix}"
        self._days = deletion_days

    def _held(self, store: str) -> dict[int, str | None]:
        pages = self._client.get_paginator("list_aliases").paginate()
        names = (each["AliasName"] for page in pages for each in page["Aliases"])
        keys = {
            epoch: self._described(alias) for epoch, alias in self._named(store, names, self._prefix).items()
        }
        return {epoch: self._waits(epoch, key) for epoch, key in keys.items() if key is not None}

    def _make(self, store: str, epoch: int) -> None:
        alias = self._alias(store, epoch)
        if self._described(alias) is not None:
            return
        tags = {"governance-store": store, "governance-epoch": str(epoch)}
        made = self._client.create_key(
            KeyUsage="GENERATE_VERIFY_MAC",
            KeySpec="HMAC_256",
            Description=f"governance epoch {epoch} of key store {store}",
            Tags=[{"TagKey": name, "TagValue": value} for name, value in tags.items()],
        )["KeyMetadata"]["KeyId"]
        try:
            self._client.create_alias(AliasName=alias, TargetKeyId=made)
        except self._client.exceptions.AlreadyExistsException:
            # Where another process was first, its key is the one.
            self._client.schedule_key_deletion(KeyId=made, PendingWindowInDays=_FEWEST_DAYS)

    def _authenticated(self, store: str, epoch: int, message: bytes) -> bytes | None:
        key = self._described(self._alias(store, epoch))
        if key is None or key["KeyState"] != "Enabled":
            return None
        try:
            answer = self._client.generate_mac(Message=message, KeyId=key["KeyId"], MacAlgorithm=_ALGORITHM)
        except self._client.exceptions.ClientError as fault:
            if self._said(fault) in _GONE:
                return None
            raise
        mac: bytes = answer["Mac"]
        return mac

    def _destroy(self, store: str, epoch: int) -> str | None:
        key = self._described(self._alias(store, epoch))
        if key is None:
            return None
        if key["KeyState"] != "PendingDeletion":
            self._client.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=self._days)
            key = self._described(key["KeyId"])
        return None if key is None else self._waits(epoch, key)

    def _waits(self, epoch: int, key: dict[str, Any]) -> str | None:
        if key["KeyState"] == "Enabled":
            return None
        if key["KeyState"] != "PendingDeletion":
            return f"AWS KMS holds the key of epoch {epoch}, which is disabled"
        day = key["DeletionDate"].strftime("%Y-%m-%d")
        return f"AWS KMS deletes the key of epoch {epoch} on {day}; until then it can be cancelled"

    def _alias(self, store: str, epoch: int) -> str:
        return f"{self._prefix}-{store}-{epoch}"

    def _described(self, key: str) -> dict[str, Any] | None:
        try:
            described: dict[str, Any] = self._client.describe_key(KeyId=key)["KeyMetadata"]
        except self._client.exceptions.NotFoundException:
            return None
        return described

    def _faults(self) -> tuple[type[Exception], ...]:
        from botocore.exceptions import BotoCoreError, ClientError

        return (BotoCoreError, ClientError)

    def _said(self, fault: Exception) -> str:
        response = getattr(fault, "response", None)
        return type(fault).__name__ if response is None else str(response.get("Error", {}).get("Code"))
