"""Free text with identifiers replaced by type tags, or by tokens that can be turned back."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from governance.errors import ProtectionError
from governance.protect.transforms.base import (
    Arguments,
    TransformContext,
    as_text,
    check_arguments,
    same_nulls,
    text_type,
)
from governance.protect.transforms.text_tokens import with_tokens

_SURVIVOR = (
    r"(?i:\b[a-z0-9][a-z0-9._%+-]*@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|org|net|edu|gov|de|fr|es|uk|it)\b)"
    r"|\b(?:00[1-9]|0[1-9]\d|[1-578]\d\d|6[0-57-9]\d|66[0-57-9])-(?:0[1-9]|[1-9]\d)-"
    r"(?:000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3})\b"
)
"""An e-mail address or a well-formed US social security number: no redaction may leave one."""


class Redact:
    """Replaces identifiers found in prose by tags such as ``[EMAIL]``.

    What the detectors miss stays: their recall is measured and stated, and Safe Harbor needs the
    declaration of no actual knowledge beside it. The output is searched again for e-mail addresses
    and social security numbers by an expression of its own, not by the detectors.

    Arguments: ``reversible``, ``true`` for ``[EMAIL:token]``: the value, sealed under what dies with the row's people
    (:mod:`governance.keys.text_tokens`).
    """

    name: ClassVar[str] = "redact"
    masking: ClassVar[bool] = True
    erasable: ClassVar[bool] = False
    released: ClassVar[bool] = True

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:
        check_arguments(self.name, arguments, "reversible")
        if not isinstance(arguments.get("reversible", False), bool):
            raise ProtectionError(
                "GOV-305",
                "transform redact: argument reversible must be true or false",
                "write `reversible: true` for tokens that can be turned back, or leave it out",
            )
        return text_type(self.name, input_type)

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:
        text = as_text(values)
        redacted = context.redact(text).cast(text.type)
        if not context.arguments.get("reversible"):
            return redacted
        return with_tokens(text, redacted, context.text_keys)

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:  # noqa: ARG002
        if not same_nulls(before, after):
            return False
        return not pc.any(pc.match_substring_regex(after, _SURVIVOR), min_count=0).as_py()
