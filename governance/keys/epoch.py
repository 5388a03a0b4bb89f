"""Epoch keys: they wrap every other key, and die at the provider so that copies die with them."""

from __future__ import annotations

from dataclasses import dataclass

from governance.errors import ProtectionError
from governance.keys.sealing import Altered, KeyMaterial, Sealer, Secretive, confined

_WRAPPED = "governance wrapped key v1"


class EpochKey(Secretive):
    """One epoch of one key store.

    A wrapped key's context is the store, its id, its segment, its sensitivity and the epoch: a row
    copied to another place, or an older one put back, does not open.
    """

    __slots__ = ("_sealer", "_store", "epoch")

    def __init__(self, store: str, epoch: int, key: bytes) -> None:
        self._store = store
        self._sealer = Sealer(key)
        self.epoch = epoch

    @confined
    def wrap(self, key: bytes, key_id: str, segment_id: str, sensitivity: str) -> bytes:
        """Seal a key for the key store."""
        return self._sealer.seal(key, _WRAPPED, self._store, key_id, segment_id, sensitivity, self.epoch)

    @confined
    def unwrap(self, wrapped: bytes, key_id: str, segment_id: str, sensitivity: str) -> KeyMaterial:
        """Open a wrapped key; raises GOV-308 if it or what it is bound to was altered."""
        try:
            return KeyMaterial(
                self._sealer.unseal(
                    wrapped, _WRAPPED, self._store, key_id, segment_id, sensitivity, self.epoch
                )
            )
        except Altered:
            raise ProtectionError(
                "GOV-308",
                f"the wrapped key {key_id} does not open under epoch {self.epoch}: it was altered",
                "restore the key store from a backup of this epoch, or release the dataset again",
            ) from None

    def rewrap(
        self, latter: EpochKey, wrapped: bytes, key_id: str, segment_id: str, sensitivity: str
    ) -> bytes:
        """Move a wrapped key to another epoch; the plain key stays in this frame."""
        key = self.unwrap(wrapped, key_id, segment_id, sensitivity)
        return latter.wrap(key, key_id, segment_id, sensitivity)


@dataclass(frozen=True, slots=True)
class Destruction:
    """What a provider says of epochs it was told to destroy.

    ``confirmed`` is its word that no copy it made can bring them back; ``pending`` names what
    stands between this and such a claim, in words for a certificate. ``waiting`` are the epochs
    that ``pending`` is about: all before the live one if it is None.
    """

    epochs: tuple[int, ...]
    confirmed: bool
    pending: tuple[str, ...] = ()
    waiting: tuple[int, ...] | None = None

    def confirms(self, epoch: int) -> bool:
        """Whether the provider says that this destroyed epoch is gone for good."""
        return self.confirmed or (self.waiting is not None and epoch not in self.waiting)


@dataclass(frozen=True, slots=True)
class Rotation:
    """The outcome of a rotation: ``epoch`` is the live one, ``destroyed_keys`` were not re-wrapped."""

    epoch: int
    survivors: int
    destroyed_keys: tuple[str, ...]
    destruction: Destruction
