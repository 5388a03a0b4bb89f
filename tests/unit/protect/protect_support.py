"""Keys in memory, one small table of every kind of column, and a plan over it."""

from __future__ import annotations

import hashlib
import os
from datetime import date

import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from governance.errors import ProtectionError
from governance.protect.plan import ColumnPlan, RewritePlan


class MemoryKeys:
    """Segment keys in a dictionary; deleting one destroys it."""

    def __init__(self) -> None:
        self.by_id: dict[str, bytes] = {}

    def new_segment_key(self, segment_id: str, sensitivity: str) -> str:
        key_id = f"{segment_id}/{sensitivity}"
        self.by_id[key_id] = os.urandom(32)
        return key_id

    def segment_key(self, key_id: str) -> bytes:
        if key_id not in self.by_id:
            raise ProtectionError("GOV-303", f"segment key {key_id} is unknown", "open the right keyring")
        return self.by_id[key_id]


class TestSigner:
    __test__ = False

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


CANARY = "Kq7ZxW0pLmT4vB9s"


def people(rows: int, *, start: int = 0) -> pa.RecordBatch:
    """Rows with a canary in every sensitive value."""
    numbers = range(start, start + rows)
    return pa.RecordBatch.from_pydict(
        {
            "mrn": pa.array([f"{CANARY}-{n:07d}" for n in numbers]),
            "email": pa.array([f"{CANARY}.{n}@example.org" for n in numbers]),
            "born": pa.array([date(1950 + n % 50, 1 + n % 12, 1 + n % 28) for n in numbers]),
            "age": pa.array([n % 110 for n in numbers], pa.int32()),
            "zip": pa.array([f"{10000 + n % 80000:05d}" for n in numbers]),
            "state": pa.array([("CA", "TX", "NY")[n % 3] for n in numbers]),
            "secret": pa.array([CANARY + str(n) for n in numbers]),
        }
    )


COLUMNS = (
    ColumnPlan("person", "mrn", "pseudonym", "medical_record_number", "restricted"),
    ColumnPlan("email", "email", "mask", "email", "confidential", {"keep_last": 4}),
    ColumnPlan("birth_year", "born", "date_to_year", "date_of_birth", "confidential"),
    ColumnPlan("age", "age", "age_cap", "age", "internal"),
    ColumnPlan("zip3", "zip", "zip3", "postal_code", "internal"),
    ColumnPlan("state", "state", "keep", "jurisdiction", "public"),
    ColumnPlan("secret", "secret", "drop", "secret", "restricted"),
)


def ordinals_of(batch: pa.RecordBatch) -> np.ndarray:
    return np.array([int(v[-7:]) if v else -1 for v in batch["mrn"].to_pylist()], np.int64)


def pseudonyms(ordinals: np.ndarray) -> np.ndarray:
    rows = [hashlib.sha256(b"p" + int(o).to_bytes(8, "big")).digest()[:16] for o in ordinals]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 16)


def make_plan(**changes: object) -> RewritePlan:
    """Denies every seventh subject, diverts ages over 100 and, separately, those over 105."""

    def decide(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        ordinals = ordinals_of(batch)
        return np.where(ordinals % 7 == 0, 3, 0).astype(np.uint8), ordinals

    def divert(batch: pa.RecordBatch) -> list[tuple[str, np.ndarray]]:
        age = batch["age"].to_numpy()
        return [("age is plausible", age > 100), ("age is possible", age > 105)]

    settings: dict[str, object] = {
        "columns": COLUMNS,
        "decide": decide,
        "divert": divert,
        "pseudonyms": pseudonyms,
        "token_key": lambda domain: hashlib.sha256(domain.encode()).digest(),
        "redact": lambda text, rows: text,
        "year": 2026,
        "segment_prefix": "v1-a1",
    }
    return RewritePlan(**{**settings, **changes})  # type: ignore[arg-type]
