"""What the subject vault stands on: identifiers in normal form, and the blind index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.errors import GovernanceError
from governance.keys.store import Keyring
from governance.keys.vault.blind_index import BlindIndex
from governance.keys.vault.identifiers import distinct
from governance.keys.vault.vault import SubjectVault


def _code(call: object, *arguments: object, **named: object) -> str:
    with pytest.raises(GovernanceError) as caught:
        call(*arguments, **named)  # type: ignore[operator]
    return caught.value.code


@pytest.mark.parametrize(
    ("values", "codes", "unique"),
    [
        (pa.array(["a", " a", None, "", "b\u00a0", "  ", "b"]), [0, 0, -1, -1, 1, -1, 1], ["a", "b"]),
        (pa.array([7, None, -7, 7], pa.int32()), [0, -1, 1, 0], ["7", "-7"]),
        (pa.array([2**64 - 1], pa.uint64()), [0], ["18446744073709551615"]),
        (pa.array(["x", None, "x"]).dictionary_encode(), [0, -1, 0], ["x"]),
        (pa.array(["x", "y", "x"], pa.large_string()).slice(1), [0, 1], ["y", "x"]),
        (pa.chunked_array([["a", "b"], [], ["c", "a", None]]), [0, 1, 2, 0, -1], ["a", "b", "c"]),
        (pa.chunked_array([], pa.string()), [], []),
        (pa.nulls(2, pa.string()), [-1, -1], []),
    ],
)
def test_identifiers_are_normalised(
    values: pa.Array | pa.ChunkedArray, codes: list[int], unique: list[str]
) -> None:
    found, names = distinct(values)
    assert found.dtype == np.int64
    assert (found.tolist(), names.to_pylist()) == (codes, unique)


@pytest.mark.parametrize("kind", [pa.float64(), pa.bool_(), pa.binary(), pa.date32(), pa.null()])
def test_types_that_cannot_name_a_subject(vault: SubjectVault, kind: pa.DataType) -> None:
    assert _code(vault.resolve, "patient", pa.nulls(2, kind), create=True) == "GOV-304"


@given(st.lists(st.integers(0, 2**40), unique=True, max_size=300), st.integers(1, 4), st.booleans())
@settings(deadline=None)
def test_blind_index_equals_a_dict(numbers: list[int], parts: int, colliding: bool) -> None:
    keys = np.zeros((len(numbers), 2), np.uint64)
    keys[:, 1] = numbers
    keys[:, 0] = 0 if colliding else numbers
    index = BlindIndex()
    for stop in np.linspace(0, len(numbers), parts).astype(int).tolist():
        index.extend(keys[:stop].view(np.uint8).reshape(stop, 16))
    index.extend(keys.view(np.uint8).reshape(-1, 16))
    absent = keys ^ np.uint64(1 << 50)
    wanted = np.concatenate([keys[::-1], absent]).view(np.uint8).reshape(-1, 16)
    found = index.find(keys.view(np.uint8).reshape(-1, 16), wanted)
    assert found.tolist() == [*range(len(numbers))][::-1] + [-1] * len(numbers)


def test_blind_index_grows() -> None:
    keys = np.random.default_rng(1).integers(0, 256, (50_000, 16), np.uint8)
    index = BlindIndex()
    for stop in (0, 10, 5_000, 50_000):
        index.extend(keys[:stop])
    np.testing.assert_array_equal(index.find(keys, keys), np.arange(50_000))


def test_nothing_readable_in_the_files(vault: SubjectVault, vault_directory: Path) -> None:
    ordinals = vault.resolve("patient", pa.array(["Zx8-canary-7Q", "other"]), create=True)
    found = [vault.internal("patient")[0], vault.secrets("patient", ordinals)[0]]
    found.append(vault.pseudonyms("patient", "training", ordinals)[0])
    held = b"".join(path.read_bytes() for path in vault_directory.iterdir())
    for secret in (b"Zx8-canary", *(record.tobytes() for record in found)):
        assert secret not in held


def test_a_file_that_is_no_vault(vault: SubjectVault, vault_directory: Path, keyring: Keyring) -> None:
    vault.close()
    (vault_directory / "vault.sqlite").write_bytes(b"not a database, and longer than a header" * 100)
    assert _code(SubjectVault.open, vault_directory, keyring) == "GOV-307"
