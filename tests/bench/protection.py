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
    ]  # fmt: skip
