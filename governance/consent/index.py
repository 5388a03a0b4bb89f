"""The compiled index: a purpose's records and timeline as one file that is mapped into memory.

It is derived from the segments and can be deleted at will. Its digest stands in the ledger's heads and is
checked when it is opened. Its subjects are ordinals of the vault; it is used only with the population it
was built for, or with one that begins with it.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from governance.consent.records import Population, SubjectRecords, is_backdated
from governance.consent.timeline import RankedRecords, Timeline, compile_timeline
from governance.durable import staged, sync
from governance.errors import ConsentError

_SUFFIX = ".index"
_ALIGNED = 64
_HEADER = 4096


@dataclass(frozen=True, slots=True)
class ConsentIndex:
    """Records up to ``position``, compiled.

    ``population`` is the digest of the ``size`` pseudonyms it was built for. ``strays`` (k, 16) are the
    subjects of records that were not among them.
    """

    position: int
    size: int
    population: str
    strays: NDArray[np.uint8]
    records: RankedRecords
    timeline: Timeline

    @classmethod
    def compiled(
        cls, records: SubjectRecords, position: int, population: Population, strays: NDArray[np.uint8]
    ) -> ConsentIndex:
        ranked = RankedRecords.of(records)
        size = population.known
        timeline = compile_timeline(ranked)
        return cls(position, size, population_digest(population, size), strays, ranked, timeline)

    def fits(self, population: Population) -> bool:
        """Whether its ordinals are right, and complete, for a population."""
        if self.size > len(population) or population_digest(population, self.size) != self.population:
            return False
        if not len(self.strays):
            return True
        return not population.contains_any(self.strays)

    def backdated(self) -> NDArray[np.int32]:
        """Ordinals with a backdated record, some of them several times."""
        return self.records.ordinal[is_backdated(self.records.kind)]


def population_digest(population: Population, size: int) -> str:
    """SHA-256 of the first ``size`` pseudonyms."""
    return hashlib.sha256(population.pseudonyms[:size].data).hexdigest()


def write_index(directory: Path, index: ConsentIndex) -> str:
    """Write the file durably and return the SHA-256 that names it."""
    arrays: dict[str, NDArray[Any]] = {"strays": index.strays}
    for part, value in (("records", index.records), ("timeline", index.timeline)):
        arrays |= {f"{part}.{field.name}": getattr(value, field.name) for field in fields(value)}
    # One array of times serves both.
    del arrays["timeline.times"]
    places: dict[str, list[Any]] = {}
    end = _HEADER
    for name, array in arrays.items():
        places[name] = [array.dtype.str, list(array.shape), end]
        end += array.nbytes + -array.nbytes % _ALIGNED
    header = {
        "position": index.position,
        "size": index.size,
        "population": index.population,
        "arrays": places,
    }
    written, digest = json.dumps(header).encode().ljust(_HEADER), hashlib.sha256()
    directory.mkdir(exist_ok=True)
    with staged(directory / "index", b"") as made:
        with made.open("r+b") as file:
            for piece in (written, *(p for array in arrays.values() for p in _padded(array))):
                digest.update(piece)
                file.write(piece)
        sync(made)
        made.replace(directory / (digest.hexdigest() + _SUFFIX))
    sync(directory)
    return digest.hexdigest()


def _padded(array: NDArray[Any]) -> tuple[Any, bytes]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, bytes(-array.nbytes % _ALIGNED)


def read_index(directory: Path, name: str) -> ConsentIndex | None:
    """Map a published index, ``None`` if it is gone.

    Raises:
        ConsentError: GOV-203 when its bytes are not those its digest names.
    """
    try:
        with (directory / (name + _SUFFIX)).open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise _damaged(name) from None
    if hashlib.sha256(data).hexdigest() != name:
        raise _damaged(name)
    header = json.loads(data[:_HEADER])
    arrays = {
        key: np.frombuffer(data, dtype, int(np.prod(shape)), offset).reshape(shape)
        for key, (dtype, shape, offset) in header["arrays"].items()
    }
    arrays["timeline.times"] = arrays["records.times"]

    def part(kind: type, prefix: str) -> Any:
        return kind(**{field.name: arrays[f"{prefix}.{field.name}"] for field in fields(kind)})

    return ConsentIndex(
        header["position"],
        header["size"],
        header["population"],
        arrays["strays"],
        part(RankedRecords, "records"),
        part(Timeline, "timeline"),
    )


def remove_index(directory: Path, name: str) -> None:
    (directory / (name + _SUFFIX)).unlink(missing_ok=True)


def sweep_indexes(directory: Path, named: set[str]) -> None:
    """Remove every file that is none of the named indexes."""
    if directory.is_dir():
        for path in directory.iterdir():
            if path.suffix != _SUFFIX or path.stem not in named:
                path.unlink(missing_ok=True)


def _damaged(name: str) -> ConsentError:
    return ConsentError(
        "GOV-203",
        f"consent index {name[:16]}… was altered or cannot be read",
        "delete the ledger's directory `index`: it is made again from the segments",
    )
