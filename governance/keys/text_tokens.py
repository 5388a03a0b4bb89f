"""Values found in free text, sealed one by one under what dies with the people of their row.

A token is AES-256-SIV (RFC 5297) of the value, padded to whole blocks so that its length says little, with the
tag as associated data. Its key is HKDF-SHA256 of a secret of the key store and of the vault's secrets of everybody
the row is about: without the one or with any of the others destroyed it opens no more, wherever it was copied to.
The same value of the same people in the same column gives the same token, so that a retry writes the same rows.

Written with consonants only, four bits each: no detector of identifiers, names or words finds anything in one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from governance.keys.sealing import Secretive, confined
from governance.model.canonical import canonical

ALPHABET = "bcdfghjklmnpqrst"

_FORM = "governance text token v1"
_WRITTEN = str.maketrans("0123456789abcdef", ALPHABET)
_READ = str.maketrans(ALPHABET, "0123456789abcdef")
_BLOCK = 16
_KEY_SIZE = 64

Ordinals = npt.NDArray[np.int64]


class TextKey(Secretive):
    """Seals and opens values of one column for the people of one row."""

    __slots__ = ("_siv",)

    def __init__(self, key: bytes) -> None:
        self._siv = AESSIV(key)

    def seal(self, value: str, tag: str) -> str:
        """The token of a value that stands for ``[tag]``."""
        plain = value.encode() + b"\x80"
        sealed = self._siv.encrypt(plain.ljust(-(-len(plain) // _BLOCK) * _BLOCK, b"\0"), [tag.encode()])
        return sealed.hex().translate(_WRITTEN)

    def open(self, token: str, tag: str) -> str | None:
        """The value; ``None`` for what this key did not seal under this tag."""
        try:
            plain = self._siv.decrypt(bytes.fromhex(token.translate(_READ)), [tag.encode()])
        except (InvalidTag, ValueError):
            return None
        return plain.rstrip(b"\0")[:-1].decode()


@confined
def text_keys(
    secret: bytes,
    people: Ordinals,
    subject_secrets: Callable[[Ordinals], npt.NDArray[np.uint8]],
    *label: str,
) -> list[TextKey | None]:
    """A key for each row; rows about the same people share one.

    Args:
        secret: of the key store, for this dataset.
        people: vault ordinals, shape (n,) or (n, people), the subject's first. −1 in a further place is nobody.
        subject_secrets: ordinals (m,), all ≥ 0 → (m, 32) uint8, zero where the subject was erased.
        label: what else the key is bound to: domain, dataset, column.

    Returns:
        ``None`` for a row whose subject, or somebody else in it, is unknown or erased.
    """
    rows, at = np.unique(people.reshape(len(people), -1), axis=0, return_inverse=True)
    named = np.unique(rows[rows >= 0])
    secrets = subject_secrets(named)
    erased = secrets.max(axis=1, initial=0) == 0
    info = canonical([_FORM, *label])
    keys: list[TextKey | None] = []
    for row in rows:
        places = np.searchsorted(named, row[row >= 0])
        if row[0] < 0 or (row < -1).any() or erased[places].any():
            keys.append(None)
            continue
        material = secret + secrets[places].tobytes()
        keys.append(TextKey(HKDF(SHA256(), _KEY_SIZE, salt=None, info=info).derive(material)))
    return [keys[place] for place in at.reshape(-1)]
