"""What an erasure leaves in the vault: the suppression list, and ordinals that a legal hold restricts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.keys.providers.file import create_file_key
from governance.keys.providers.provider import provider_for
from governance.keys.store import Keyring
from governance.keys.vault.vault import SubjectVault


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    root = tmp_path_factory.mktemp("erasing")
    create_file_key(root / "kek.json")
    return Keyring.create(root / "keys", provider_for(f"file:{root}/kek.json"))


def _names(*numbers: int) -> pa.Array:
    return pa.array([f"MRN-{number}" for number in numbers], pa.string())


def _erased(vault: SubjectVault, *numbers: int, tombstones: int = 1) -> None:
    ordinals = vault.resolve("patient", _names(*numbers), create=False)
    vault.reseal(
        {"patient": ordinals[ordinals >= 0]},
        suppressed={"patient": vault.suppression_marks("patient", _names(*numbers))},
        tombstones=tombstones,
    )


def test_a_suppressed_identifier_is_never_enrolled_again(keyring: Keyring, tmp_path: Path) -> None:
    vault = SubjectVault.create(tmp_path / "vault", keyring)
    other = SubjectVault.open(tmp_path / "vault", keyring)
    everybody = _names(*range(5_000))
    vault.resolve("patient", everybody, create=True)
    vault.resolve("customer", everybody, create=True)
    other.resolve("patient", everybody, create=False)
    # More than a page of them, known and unknown ones, some twice.
    gone = [*range(5_000), *range(6_000, 6_100), 3]
    _erased(vault, *gone)
    for view in (vault, other, SubjectVault.open(tmp_path / "vault", keyring)):
        found = view.resolve("patient", pa.concat_arrays([everybody, _names(5_500, 6_050)]), create=True)
        assert found[:-2].tolist() == [-1] * 5_000
        assert (found[-2], found[-1]) == (5_000, -1)
        assert view.suppressed("patient", _names(4_999, 5_500, 6_099)).tolist() == [True, False, True]
        assert view.suppressed("patient", pa.array([" MRN-1 ", None, ""])).tolist() == [True, False, False]
        assert not view.suppressed("customer", everybody).any()
        assert view.resolve("customer", _names(17), create=False)[0] >= 0
    _erased(vault, 5_500, tombstones=2)
    assert vault.suppressed("patient", _names(0, 5_500)).all(), "the list grows, and is carried along"
    assert not vault.resolve("patient", _names(5_500), create=True)[0] >= 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["load", "erase"]), st.sets(st.integers(0, 12), min_size=1)), max_size=6
    )
)
def test_whatever_is_loaded_and_erased(
    keyring: Keyring, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, set[int]]]
) -> None:
    """Against a model of two sets: nobody who was erased is ever found, everybody else keeps the ordinal."""
    vault = SubjectVault.create(tmp_path_factory.mktemp("model") / "vault", keyring)
    known: dict[int, int] = {}
    erased: set[int] = set()
    for done, (step, numbers) in enumerate(steps, start=1):
        if step == "load":
            found = vault.resolve("patient", _names(*sorted(numbers)), create=True)
            for number, ordinal in zip(sorted(numbers), found.tolist(), strict=True):
                assert (ordinal < 0) == (number in erased)
                if ordinal >= 0:
                    assert known.setdefault(number, ordinal) == ordinal
        else:
            _erased(vault, *sorted(numbers), tombstones=done)
            erased |= numbers
            known = {number: ordinal for number, ordinal in known.items() if number not in erased}
    found = vault.resolve("patient", _names(*range(13)), create=False).tolist()
    assert found == [known.get(number, -1) for number in range(13)]
    assert len(set(known.values())) == len(known)
