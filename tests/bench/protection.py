"""Parquet encryption against the same file in plain, keyed tokens, transforms without redaction."""

from __future__ import annotations

import secrets
import shutil
from typing import Any

from tests.bench import dataset
from tests.bench.experiment import OUT, Call, Experiment, Figure, Goal, cpu, per_cpu_second
from tests.bench.measuring import measure

_DICTIONARY = ("jurisdiction",)
_GROUP = 1 << 20


def _keys() -> dict[str, bytes]:
    return {"internal": bytes(range(32)), "footer": bytes(range(32, 64))}


def _file(rows: int, kind: str) -> Any:
    return OUT / f"encryption-{rows}" / f"{kind}.parquet"


def write(rows: int, sealed: bool, name: str = "") -> dict[str, Any]:
    """One file of the whole source; the same encoding on both sides. The sealed one is hashed as well."""
    import pyarrow.fs as fs
    import pyarrow.parquet as pq

    from governance.protect.encryption import seal_writer

    table = pq.read_table(dataset.source(rows)).combine_chunks().replace_schema_metadata(None)
    folder = OUT / "work" / f"encryption-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    path = folder / "file.parquet"

    def work() -> dict[str, Any]:
        if sealed:
            writer = seal_writer(
                str(path),
                fs.LocalFileSystem(),
                table.schema,
                {"internal": table.schema.names},
                "footer",
                _keys().__getitem__,
                dictionary_columns=_DICTIONARY,
            )
            writer.write_table(table, row_group_size=_GROUP)
            writer.close()
        else:
            with pq.ParquetWriter(
                path, table.schema, compression="zstd", use_dictionary=list(_DICTIONARY)
            ) as plain:
                plain.write_table(table, row_group_size=_GROUP)
        return {"rows": rows, "bytes": path.stat().st_size}

    result = measure(work)
    if name:
        target = _file(rows, name)
        shutil.rmtree(target.parent / name, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        for each in folder.iterdir():
            each.replace(target.parent / each.name.replace("file.parquet", target.name))
    shutil.rmtree(folder)
    return result


def read(rows: int, sealed: bool) -> dict[str, Any]:
    """Every column, batch by batch, dropped."""
    import pyarrow.fs as fs
    import pyarrow.parquet as pq

    from governance.protect.encryption import open_sealed

    path = _file(rows, "sealed" if sealed else "plain")

    def work() -> dict[str, Any]:
        system = fs.LocalFileSystem()
        if sealed:
            opened = open_sealed(str(path), system, _keys().__getitem__)
        else:
            opened = pq.ParquetFile(system.open_input_file(str(path)), pre_buffer=False)
        with opened:
            return {"rows": sum(batch.num_rows for batch in opened.iter_batches(batch_size=131_072))}

    result = measure(work)
    if result["rows"] != rows:
        raise AssertionError("rows are missing")
    return result


def tokens(values: int) -> dict[str, Any]:
    """AES-CMAC of e-mail addresses of about 19 bytes, batch by batch."""
    import numpy as np
    import pyarrow as pa

    from governance.keys.cmac import cmac

    numbers = pa.array(np.random.default_rng(7).integers(0, 1_000_000, 131_072)).cast(pa.string())
    emails = pa.compute.binary_join_element_wise("maria", numbers, "@example", ".com", "")
    key = secrets.token_bytes(16)

    def work() -> dict[str, Any]:
        done = 0
        while done < values:
            done += len(cmac(key, emails))
        return {"values": done}

    return measure(work)


def format_preserving(values: int) -> dict[str, Any]:
    """FF1 of social security numbers as text, by the transform as a pass calls it, batch by batch."""
    import numpy as np
    import pyarrow as pa

    from governance.protect.transforms import TransformContext, transform

    rows = 131_072
    digits = np.random.default_rng(7).integers(48, 58, (rows, 11)).astype(np.uint8)
    digits[:, [3, 6]] = ord("-")
    offsets = pa.py_buffer(np.arange(0, 11 * rows + 1, 11, dtype=np.int32))
    numbers = pa.Array.from_buffers(pa.string(), rows, [None, offsets, pa.py_buffer(digits)])
    key = secrets.token_bytes(16)
    context = TransformContext(
        ordinals=np.zeros(rows, np.int64),
        pseudonyms=lambda ordinals: np.zeros((len(ordinals), 16), np.uint8),
        token_key=lambda _: key,
        redact=lambda text: text,
        arguments={"domain": "citizen", "erasable": False},
        year=2026,
    )

    def work() -> dict[str, Any]:
        done = 0
        while done < values:
            done += len(transform("ff1").apply(numbers, context))
        return {"values": done}

    return measure(work)


def anonymity(rows: int) -> dict[str, Any]:
    """k = 5 and l = 2 over birth year, three digits of a ZIP code and sex: counted and chosen."""
    import numpy as np
    import pyarrow as pa

    from governance.model.anonymity import Anonymity, QuasiIdentifier, SensitiveColumn
    from governance.protect.anonymity.frequencies import Frequencies
    from governance.protect.anonymity.search import recoding

    asked = Anonymity(
        (
            QuasiIdentifier("year", "ranges", (5, 10, 20)),
            QuasiIdentifier("zip3", "prefixes", (2, 1)),
            QuasiIdentifier("sex"),
        ),
        5,
        (SensitiveColumn("diagnosis"),),
        l_distinct=2,
        max_suppression=0.01,
    )
    random = np.random.default_rng(7)
    batch = 131_072
    year = pa.array(random.integers(1930, 2010, batch).astype(np.int32))
    area = pa.array(random.integers(100, 1000, batch)).cast(pa.string())
    sex = pa.array(np.array(["F", "M", "X"])[random.choice(3, batch, p=[0.5, 0.49, 0.01])])
    diagnosis = pa.array([f"D{n:02d}" for n in random.geometric(0.1, batch) % 60])

    def work() -> dict[str, Any]:
        counted = Frequencies(asked.quasi_identifiers, 1)
        while counted.rows < rows:
            ordinals = np.arange(counted.rows, counted.rows + batch)
            counted.add([year, area, sex], [diagnosis], ordinals)
        found = recoding(counted, asked)
        return {"rows": counted.rows, "levels": list(found.levels), "suppressed": found.suppressed}

    return measure(work)


def experiments(quick: bool, rows: int | None) -> list[Experiment]:
    size = rows or (500_000 if quick else 10_000_000)
    values = 5_000_000 if quick else 20_000_000
    goal = Goal("ratio", 1.15)
    make = Call("dataset:make_source", {"rows": size})
    sides = [
        Call("protection:write", {"rows": size, "sealed": s, "name": n})
        for s, n in ((True, "sealed"), (False, "plain"))
    ]
    return [
        Experiment(
            "encryption.write",
            Call("protection:write", {"rows": size, "sealed": True}),
            [Figure("encryption.write", "s", cpu, goal, floor=cpu)],
            floor=Call("protection:write", {"rows": size, "sealed": False}),
            before=[make],
            pairs=5,
            context={"rows": size},
        ),
        Experiment(
            "encryption.read",
            Call("protection:read", {"rows": size, "sealed": True}),
            [Figure("encryption.read", "s", cpu, goal, floor=cpu)],
            floor=Call("protection:read", {"rows": size, "sealed": False}),
            before=[make, *sides],
            pairs=5,
            context={"rows": size},
        ),
        Experiment(
            "tokens",
            Call("protection:tokens", {"values": values}),
            [
                Figure(
                    "tokens.cmac", "M values/s", per_cpu_second("values", 1e6),
                    Goal("value", 20, at_most=False, unit="M values/s"),
                )
            ],
            context={"values": values},
        ),
        Experiment(
            "ff1",
            Call("protection:format_preserving", {"values": values}),
            [
                Figure(
                    "tokens.ff1", "M values/s", per_cpu_second("values", 1e6),
                    Goal("value", 5, at_most=False, unit="M values/s"),
                )
            ],
            context={"values": values},
        ),
        Experiment(
            "anonymity",
            Call("protection:anonymity", {"rows": size}),
            [Figure("anonymity.count", "M rows/s", per_cpu_second("rows", 1e6))],
            context={"rows": size},
        ),
    ]  # fmt: skip
