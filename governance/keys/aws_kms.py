"""``aws-kms:`` keys: an HMAC key of AWS KMS for each epoch.

    aws-kms:REGION/PREFIX[?deletion_days=7]

The epoch key is the MAC that KMS computes over the store's id and the epoch (GenerateMac with an
``HMAC_256`` key, RFC 2104): nothing wrapped lies anywhere, so there is no blob whose copies would have
to die too. Each KMS key is found by its alias ``alias/PREFIX-STORE-EPOCH``. Destroying an epoch is
ScheduleKeyDeletion: KMS refuses the key at once, an administrator may cancel for 7 to 30 days, and
afterwards no one has it. Credentials, profile and endpoint are those of the AWS SDK.

The principal needs kms:CreateKey, CreateAlias, ListAliases, DescribeKey, GenerateMac, TagResource and
ScheduleKeyDeletion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from governance.errors import ProtectionError, SettingError
from governance.keys.epoch import Destruction, EpochKey
from governance.keys.provider import Passphrase
from governance.model.canonical import canonical

_URI = re.compile(r"aws-kms:([a-z]{2}[a-z0-9-]{3,30})/([A-Za-z0-9/_-]{1,100})(?:\?(.*))?")
_DAYS = range(7, 31)
_ALGORITHM = "HMAC_SHA_256"
_GONE = frozenset({"NotFoundException", "KMSInvalidStateException", "DisabledException"})


def open_provider(uri: str, _passphrase: Passphrase | None) -> AwsKmsProvider:
    """The factory that :mod:`governance.keys.provider` registers."""
    found = _URI.fullmatch(uri)
    asked = parse_qs(found[3] or "", keep_blank_values=True) if found else {}
    days = asked.pop("deletion_days", ["7"])[0]
    if found is None or asked or not days.isdecimal() or int(days) not in _DAYS:
        raise ProtectionError(
            "GOV-301",
            "an aws-kms: key is named by a region and a prefix for aliases",
            "write aws-kms:eu-central-1/governance, and ?deletion_days=7 to 30 if you need longer than 7",
        )
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise SettingError(
            "GOV-901", "aws-kms: needs boto3, which is not installed", "install airflow-governance[aws]"
        ) from None
    config = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "max_attempts": 5})
    client = boto3.client("kms", region_name=found[1], config=config)
    return AwsKmsProvider(f"aws-kms:{found[1]}/{found[2]}", client, found[2], int(days))


class AwsKmsProvider:
    """A :class:`governance.keys.provider.KeyProvider` in AWS KMS.

    Raises:
        ProtectionError: GOV-309 if KMS cannot be reached, throttles or refuses the principal.
    """

    def __init__(self, uri: str, client: Any, prefix: str, deletion_days: int) -> None:
        self._uri = uri
        self._client = client
        self._prefix = prefix
        self._days = deletion_days

    @property
    def uri(self) -> str:
        return self._uri

    def lies_in(self, directory: Path) -> bool:  # noqa: ARG002 - KMS is in no directory
        return False

    def epochs(self, store: str) -> tuple[int, ...]:
        return tuple(epoch for epoch, key in self._keys(store) if key["KeyState"] == "Enabled")

    def create_epoch(self, store: str, epoch: int) -> EpochKey:
        with self._asking("create a key"):
            held = self._described(self._alias(store, epoch))
            if held is None:
                tags = {"governance-store": store, "governance-epoch": str(epoch)}
                made = self._client.create_key(
                    KeyUsage="GENERATE_VERIFY_MAC",
                    KeySpec="HMAC_256",
                    Description=f"governance epoch {epoch} of key store {store}",
                    Tags=[{"TagKey": name, "TagValue": value} for name, value in tags.items()],
                )["KeyMetadata"]["KeyId"]
                held = self._named(made, self._alias(store, epoch))
            return self._derived(store, epoch, held)

    def epoch_key(self, store: str, epoch: int) -> EpochKey:
        with self._asking("use a key"):
            return self._derived(store, epoch, self._described(self._alias(store, epoch)))

    def destroy_epochs(self, store: str, before: int) -> Destruction:
        gone: list[int] = []
        pending: list[str] = []
        for epoch, key in self._keys(store):
            if epoch >= before:
                continue
            with self._asking("delete a key"):
                if key["KeyState"] != "PendingDeletion":
                    key = self._client.schedule_key_deletion(
                        KeyId=key["KeyId"], PendingWindowInDays=self._days
                    )
                    gone.append(epoch)
            day = key["DeletionDate"].strftime("%Y-%m-%d")
            pending.append(
                f"AWS KMS deletes the key of epoch {epoch} on {day}; until then it can be cancelled"
            )
        return Destruction(tuple(gone), confirmed=not pending, pending=tuple(pending))

    def _alias(self, store: str, epoch: int | str) -> str:
        return f"alias/{self._prefix}-{store}-{epoch}"

    def _keys(self, store: str) -> list[tuple[int, dict[str, Any]]]:
        """Epochs of a store, ascending, with what DescribeKey says of each key."""
        begins = self._alias(store, "")
        with self._asking("list the keys"):
            pages = self._client.get_paginator("list_aliases").paginate()
            names = [each["AliasName"] for page in pages for each in page["Aliases"]]
            numbers = sorted(
                int(name.removeprefix(begins))
                for name in names
                if name.startswith(begins) and name.removeprefix(begins).isdecimal()
            )
            keys = [(number, self._described(self._alias(store, number))) for number in numbers]
        return [(number, key) for number, key in keys if key is not None]

    def _described(self, key: str) -> dict[str, Any] | None:
        try:
            described: dict[str, Any] = self._client.describe_key(KeyId=key)["KeyMetadata"]
        except self._client.exceptions.NotFoundException:
            return None
        return described

    def _named(self, key: str, alias: str) -> dict[str, Any]:
        """Give a new key its alias; where another process was first, its key is the one."""
        try:
            self._client.create_alias(AliasName=alias, TargetKeyId=key)
        except self._client.exceptions.AlreadyExistsException:
            self._client.schedule_key_deletion(KeyId=key, PendingWindowInDays=min(_DAYS))
            key = alias
        described: dict[str, Any] = self._client.describe_key(KeyId=key)["KeyMetadata"]
        return described

    def _derived(self, store: str, epoch: int, key: dict[str, Any] | None) -> EpochKey:
        if key is None or key["KeyState"] != "Enabled":
            raise self._destroyed(epoch)
        message = canonical(["governance epoch key v1", store, epoch])
        try:
            answer = self._client.generate_mac(Message=message, KeyId=key["KeyId"], MacAlgorithm=_ALGORITHM)
        except self._client.exceptions.ClientError as fault:
            if _code(fault) in _GONE:
                raise self._destroyed(epoch) from None
            raise
        return EpochKey(store, epoch, answer["Mac"])

    def _destroyed(self, epoch: int) -> ProtectionError:
        return ProtectionError(
            "GOV-303",
            f"{self._uri} holds no usable key for epoch {epoch} of this key store: it was destroyed, "
            "disabled, or is another's",
            "use the key store's newest copy with the account and region it was made with",
        )

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError) as fault:
            said = _code(fault) if isinstance(fault, ClientError) else type(fault).__name__
            raise ProtectionError(
                "GOV-309",
                f"{self._uri} did not {what}: {said}",
                "check the network, the AWS credentials and the key policy (docs/operating.md), then try again",
            ) from None


def _code(fault: Any) -> str:
    return str(fault.response.get("Error", {}).get("Code", "unknown"))
