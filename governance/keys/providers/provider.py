"""Where a KEK lives, chosen by the scheme of its URI.

A provider is one module with one factory and one line in :data:`PROVIDERS`; it is imported when
its scheme is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeAlias

from governance.errors import ProtectionError
from governance.keys.epoch import Destruction, EpochKey

Passphrase: TypeAlias = Callable[[], str]

PROVIDERS = MappingProxyType(
    {
        "aws-kms": "governance.keys.providers.aws_kms:open_provider",
        "azure-kv": "governance.keys.providers.azure_key_vault:open_provider",
        "file": "governance.keys.providers.file:open_provider",
        "gcp-kms": "governance.keys.providers.gcp_kms:open_provider",
        "vault": "governance.keys.providers.hashicorp_vault:open_provider",
    }
)


class KeyProvider(Protocol):
    """A KEK that never leaves its place, and the epoch keys it wraps, kept beside it.

    Epochs of different key stores are apart; a store is named by the random id in its database.
    """

    @property
    def uri(self) -> str:
        """The URI it was opened by; holds no secret."""

    def lies_in(self, directory: Path) -> bool:
        """Whether a copy of ``directory`` would take the epoch keys along."""

    def epochs(self, store: str) -> tuple[int, ...]:
        """The live epochs of a store, ascending."""

    def create_epoch(self, store: str, epoch: int) -> EpochKey:
        """A new random epoch key, durable when it returns; the existing one if there is one."""

    def epoch_key(self, store: str, epoch: int) -> EpochKey:
        """A live epoch's key; GOV-303 if it was destroyed, GOV-302 under another KEK, GOV-308 if altered."""

    def destroy_epochs(self, store: str, before: int) -> Destruction:
        """Destroy every epoch below ``before``; durable when it returns, harmless when repeated."""


def provider_for(uri: str, passphrase: Passphrase | None = None) -> KeyProvider:
    """Open the provider a URI names.

    Args:
        uri: ``scheme:rest``, for example ``file:/etc/governance/kek.json``.
        passphrase: asked only by a provider that needs one.

    Raises:
        ProtectionError: GOV-301 for an unknown scheme or a missing key, GOV-302 for a wrong
            passphrase, GOV-308 for a key file that was altered.
    """
    scheme, separator, _ = uri.partition(":")
    if not separator or scheme not in PROVIDERS:
        known = ", ".join(f"{name}:" for name in sorted(PROVIDERS))
        # A URI without a scheme may be a pasted secret, so it is not repeated.
        named = f"{scheme}:" if separator and scheme.replace("-", "").isalnum() else "no scheme"
        raise ProtectionError(
            "GOV-301",
            f"the key provider URI has {named}; the providers that exist are {known}",
            f"name a key by one of {known} for example GOVERNANCE_KEK=file:/etc/governance/kek.json",
        )
    module, _, factory = PROVIDERS[scheme].partition(":")
    opened: KeyProvider = getattr(import_module(module), factory)(uri, passphrase)
    return opened
