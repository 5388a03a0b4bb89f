"""A column of subject identifiers as distinct normal forms and a code for each row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from governance.errors import ProtectionError

Codes = npt.NDArray[np.int64]


def distinct(identifiers: pa.Array | pa.ChunkedArray) -> tuple[Codes, pa.Array]:
    """Normalise and deduplicate.

    Integers become their decimal digits; strings lose surrounding white space; what is null or then
    empty names nobody.

    Returns:
        One int64 code a row, -1 for nobody, and the strings the codes index.

    Raises:
        ProtectionError: GOV-304 for any other type. Floats are refused because their digits are not
            unique to a subject.
    """
    kind = identifiers.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        identifiers = identifiers.cast(kind)
    if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise ProtectionError(
            "GOV-304",
            f"subject identifiers of type {kind} cannot be resolved",
            "let the source give the subject column as strings or integers",
        )
    codes, values = _encoded(identifiers)
    if pa.types.is_integer(kind):
        return codes, values.cast(pa.string())
    trimmed = pc.utf8_trim_whitespace(values)
    if trimmed.equals(values) and not pc.any(pc.equal(trimmed, "")).as_py():
        return codes, values
    # Equal only after trimming: encode the distinct values once more and compose the codes.
    outer, values = _encoded(pc.if_else(pc.equal(trimmed, ""), None, trimmed))
    return np.append(outer, -1)[codes], values


def _encoded(values: pa.Array | pa.ChunkedArray) -> tuple[Codes, pa.Array]:
    encoded = values.dictionary_encode()
    # Arrow gives every chunk of one encoding the same, final dictionary.
    chunks = encoded.chunks if isinstance(encoded, pa.ChunkedArray) else [encoded]
    if not chunks:
        return np.empty(0, np.int64), pa.array([], values.type)
    codes = [pc.fill_null(chunk.indices, -1).to_numpy(zero_copy_only=False) for chunk in chunks]
    return np.concatenate(codes).astype(np.int64, copy=False), chunks[-1].dictionary
