"""The stores of a process without keys: keyring, vault and checkpoints by way of the key broker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from governance.config import Settings
from governance.errors import LogError
from governance.keys.broker import BrokeredKeyring
from governance.keys.broker_service import BrokerService
from governance.keys.vault.storage import storage_of
from governance.keys.vault.vault import SubjectVault
from governance.log import Checkpoint, CheckpointSigner, tree
from governance.log.note import parse_checkpoint
from governance.log.tree import ReadNodes


class BrokerCheckpoints(CheckpointSigner):
    """Checkpoints that the broker signs, over the store as this process sees it too."""

    def __init__(self, keyring: BrokeredKeyring, origin: str, memory: Path) -> None:
        self._broker = keyring
        super().__init__(keyring.log_signer, origin, memory)

    def last(self) -> Checkpoint | None:
        """None: the memory is the broker's, as the key is."""
        return None

    def sign(
        self,
        size: Callable[[], int],
        read: ReadNodes,
        stored: Callable[[], str | None],
        keep: Callable[[int, str], None] | None = None,
    ) -> Checkpoint:
        """The broker's checkpoint.

        Raises:
            LogError: GOV-503 when it is over another history than this store's, or over less of it.
            ProtectionError: GOV-310, GOV-311.
        """
        del stored, keep
        least = size()
        checkpoint = parse_checkpoint(self._broker.checkpoint(), self.vkey)
        if not least <= checkpoint.size <= size() or checkpoint.root != tree.root(checkpoint.size, read):
            raise LogError(
                "GOV-503",
                f"the key broker signed a log of {checkpoint.size} entries that is not this store's",
                "point GOVERNANCE_STORE at the store that the broker serves",
            )
        return checkpoint


def open_brokered(settings: Settings, postgres: str | None) -> tuple[BrokeredKeyring, SubjectVault]:
    """The keyring and the vault of a home whose keys are at a broker.

    The vault is opened when the first claim is made; until then there is no key to open it with.

    Args:
        postgres: connection string of the database that may hold the vault.

    Raises:
        SettingError: GOV-901 for the broker's URL or the token file.
        ProtectionError: GOV-307 when it cannot be told where the vault is.
    """
    keyring = BrokeredKeyring(BrokerService(settings.keys, settings.keys_token), settings.task)
    return keyring, SubjectVault(storage_of(settings.home / "vault", postgres), keyring)
