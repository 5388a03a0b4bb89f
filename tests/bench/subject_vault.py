"""The subject vault: enrolling new subjects in bulk, and finding known ones batch by batch."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.bench.experiment import OUT, Call, Experiment, Figure, Goal, per_cpu_second, value_of
from tests.bench.measuring import measure

_BATCH = 131_072


def vault(subjects: int, postgres: str = "") -> dict[str, Any]:
    """New subjects in one call, their pseudonyms, then each of them once more from a vault just opened."""
    with _database(postgres) as database:
        return _measured(subjects, database)


@contextmanager
def _database(server: str) -> Iterator[str | None]:
    """A schema of its own on the server; None for SQLite."""
    if not server:
        yield None
        return
    import psycopg

    schema = f"vault_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        yield f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{schema}"
        connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


def _measured(subjects: int, postgres: str | None) -> dict[str, Any]:
    import numpy as np
    import pyarrow as pa

    from governance.keys.providers.file import create_file_key
    from governance.keys.providers.provider import provider_for
    from governance.keys.store import Keyring
    from governance.keys.vault.vault import SubjectVault

    folder = OUT / "work" / f"vault-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    create_file_key(folder / "kek.json")
    keyring = Keyring.create(folder / "keys", provider_for(f"file:{folder}/kek.json"))
    numbers = np.random.default_rng(7).permutation(subjects)
    identifiers = pa.compute.binary_join_element_wise("MRN", pa.array(numbers).cast(pa.string()), "-")
    made = SubjectVault.create(folder / "vault", keyring, postgres=postgres)
    ordinals: list[Any] = []
    new = measure(lambda: ordinals.append(made.resolve("patient", identifiers, create=True)))
    named = measure(lambda: made.pseudonyms("patient", "released:patient", ordinals[0]) is None)
    opened = SubjectVault.open(folder / "vault", keyring, postgres=postgres)
    first = measure(lambda: opened.resolve("patient", identifiers[:1], create=False) is None)

    def find() -> None:
        for start in range(0, subjects, _BATCH):
            found = opened.resolve("patient", identifiers[start : start + _BATCH], create=False)
            if not (found == ordinals[0][start : start + _BATCH]).all():
                raise AssertionError("a subject was not found again")

    known = measure(find)
    made.close()
    opened.close()
    shutil.rmtree(folder)
    rates = {"new": new, "known": known, "pseudonyms": named}
    return {
        **new,
        "subjects": subjects,
        "open_s": first["cpu_s"],
        **{f"{name}_wall": subjects / each["wall_s"] for name, each in rates.items()},
        **{f"{name}_cpu": subjects / each["cpu_s"] for name, each in rates.items()},
    }


def experiments(quick: bool, rows: int | None, dsn: str | None) -> list[Experiment]:
    size = rows or (500_000 if quick else 3_000_000)
    kinds = [("vault", ""), *([("vault.postgres", dsn)] if dsn else [])]
    return [_experiment(name, size, location) for name, location in kinds]


def _experiment(name: str, subjects: int, location: str) -> Experiment:
    # On a server the wall clock tells more, and the goals were set for SQLite.
    new, known = (None, None) if location else (_at_least(300_000), _at_least(3_000_000))
    return Experiment(
        name,
        Call("subject_vault:vault", {"subjects": subjects, "postgres": location}),
        [
            Figure(f"{name}.new", "subjects/s", per_cpu_second("subjects"), new),
            Figure(f"{name}.new.wall", "subjects/s", value_of("new_wall")),
            Figure(f"{name}.known", "subjects/s", value_of("known_cpu"), known),
            Figure(f"{name}.known.wall", "subjects/s", value_of("known_wall")),
            Figure(f"{name}.pseudonyms", "subjects/s", value_of("pseudonyms_cpu")),
            Figure(f"{name}.open", "s", value_of("open_s")),
        ],
        context={"subjects": subjects, "batch": _BATCH},
    )


def _at_least(rate: float) -> Goal:
    return Goal("value", rate, at_most=False, unit="subjects/s")
