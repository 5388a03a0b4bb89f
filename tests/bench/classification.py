"""Classification: a full scan of the nine columns, of notes, and of texts made to be slow."""

from __future__ import annotations

from typing import Any

from tests.bench import dataset
from tests.bench.experiment import Call, Experiment, Figure, Floor, Goal, cpu, peak, per_cpu_second
from tests.bench.measuring import measure

_BATCH = 131_072
CORPORA = (
    "notes",
    "clinical",
    "base64",
    "uuid",
    "upper_case",
    "long_values",
    "no_spaces",
    "emoji",
    "right_to_left",
)


def table(rows: int) -> dict[str, Any]:
    """:class:`TableScanner` over the whole source, every row of every column, model included."""
    from pathlib import Path

    import pyarrow.parquet as pq

    from governance.detect import TableScanner

    def work() -> dict[str, Any]:
        size = seen = 0
        scanner = None
        for file in sorted(Path(dataset.source(rows)).glob("*.parquet")):
            with pq.ParquetFile(file, pre_buffer=False) as opened:
                scanner = scanner or TableScanner(opened.schema_arrow)
                for batch in opened.iter_batches(batch_size=_BATCH):
                    scanner.update(batch)
                    size += batch.nbytes
                    seen += batch.num_rows
        found = scanner.finish() if scanner else {}
        return {
            "bytes": size,
            "values": seen * len(found),
            "found": {name: each.classification for name, each in found.items()},
        }

    return measure(work)


def text(corpus: str, megabytes: int, redacting: bool = False) -> dict[str, Any]:
    """A column of one kind of text, scanned as free text (or redacted), after one small warm-up batch."""
    import pyarrow as pa

    from governance.detect import TableScanner, redact

    batches = [pa.record_batch({"note": chunk}) for chunk in _corpus(corpus, megabytes)]
    size = sum(_bytes(batch["note"]) for batch in batches)
    # Automata and dictionaries load at first use, once a process; `classify.table` has that cost in it.
    warm = batches[0].slice(0, 100)
    scanner = TableScanner(warm.schema)
    scanner.update(warm)
    scanner.finish()
    redact(warm["note"])
    scanner = TableScanner(warm.schema)

    def work() -> dict[str, Any]:
        for batch in batches:
            if redacting:
                redact(batch["note"])
            else:
                scanner.update(batch)
        found = {} if redacting else {n: f.classification for n, f in scanner.finish().items()}
        return {"bytes": size, "found": found}

    return measure(work)


def _bytes(array: Any) -> int:
    import pyarrow.compute as pc

    return int(pc.sum(pc.binary_length(array)).as_py() or 0)


def _corpus(kind: str, megabytes: int) -> Any:
    """Arrays of text, together about so many megabytes of UTF-8.

    ``notes`` are 54 bytes in lower case, one in eight with an identifier; every row of ``clinical`` has a name of the
    dictionaries, a date, and capitals; the others hold no identifier and are made to be slow.
    """
    import base64
    import random
    import uuid

    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = megabytes * 1_000_000
    if kind == "notes":
        base = pq.read_table(dataset.source(200_000), columns=["note"])["note"].combine_chunks()
        base = base if isinstance(base, pa.Array) else base.chunk(0)
    else:
        chance = random.Random(7)
        words = ["patient", "refund", "invoice", "delayed", "support", "review", "billing", "quarter"]
        given, family = (
            ["Maria", "John", "Elena", "Thomas", "Sofia"],
            ["Lopez", "Miller", "Schmidt", "Garcia", "Novak"],
        )
        arabic = ["المريض", "الفاتورة", "الدعم", "مراجعة", "تأخير", "طلب"]

        def some(makers: Any, number: int, by: str = " ") -> str:
            return by.join(chance.choice(makers) for _ in range(number))

        make = {
            "clinical": lambda: (
                f"{chance.choice(given)} {chance.choice(family)} was seen 2024-0{chance.randint(1, 9)}-1{chance.randint(0, 9)} "
                f"by Dr. {chance.choice(family)}. {some(words, 6).capitalize()}. Continue {chance.randint(1, 9)}0 mg."
            ),
            "base64": lambda: base64.b64encode(chance.randbytes(60)).decode(),
            "uuid": lambda: str(uuid.UUID(int=chance.getrandbits(128))),
            "upper_case": lambda: some(words, 9).upper(),
            "long_values": lambda: some(words, 20_000),
            "no_spaces": lambda: some(words, 12, ""),
            "emoji": lambda: some(["🙂", "🚑", "great", "❤️", "ok", "👩‍⚕️"], 14),
            "right_to_left": lambda: some(arabic, 9),
        }[kind]
        base = pa.array([make() for _ in range(40 if kind == "long_values" else 50_000)])
    repeats = max(1, round(wanted / _bytes(base)))
    parts = [base] * repeats
    whole = pa.chunked_array(parts)
    rows = min(_BATCH, len(base)) if kind == "long_values" else _BATCH
    for start in range(0, len(whole), rows):
        chunk = whole.slice(start, rows).combine_chunks()
        yield chunk if isinstance(chunk, pa.Array) else pa.concat_arrays(chunk.chunks)


def experiments(quick: bool, rows: int | None) -> list[Experiment]:
    size = rows or (500_000 if quick else 10_000_000)
    megabytes = 20 if quick else 100
    made = [
        Experiment(
            "classify.table",
            Call("classification:table", {"rows": size}),
            [
                Figure("classify.table.cpu", "s", cpu, floor=cpu),
                Figure("classify.table", "MB/s", per_cpu_second("bytes", 1e6)),
                Figure(
                    "classify.table.values", "values/s", per_cpu_second("values"),
                    Goal("value", 30_000, at_most=False, unit="values/s"),
                ),
                Figure("classify.table.memory", "MiB", peak),
            ],
            floor=Floor(("scan", str(dataset.source(size)))),
            before=[Call("dataset:make_source", {"rows": size})],
            context={"rows": size, "columns": 9},
        )
    ]  # fmt: skip
    for corpus in CORPORA:
        limit = 150 if corpus == "notes" else 40
        made.append(
            Experiment(
                f"classify.text.{corpus}",
                Call("classification:text", {"corpus": corpus, "megabytes": megabytes}),
                [
                    Figure(
                        f"classify.text.{corpus}", "MB/s", per_cpu_second("bytes", 1e6),
                        None if corpus == "clinical" else Goal("value", limit, at_most=False, unit="MB/s"),
                    )
                ],
                before=[Call("dataset:make_source", {"rows": 200_000})],
                pairs=3 if corpus == "notes" else 1,
                context={"MB": megabytes},
            )
        )  # fmt: skip
    made.append(
        Experiment(
            "redact.notes",
            Call("classification:text", {"corpus": "notes", "megabytes": megabytes, "redacting": True}),
            [Figure("redact.notes", "MB/s", per_cpu_second("bytes", 1e6))],
            before=[Call("dataset:make_source", {"rows": 200_000})],
            context={"MB": megabytes},
        )
    )
    return made
