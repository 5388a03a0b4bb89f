"""The transforms a contract may name. A new one is a class, a line here and its test."""

from __future__ import annotations

from types import MappingProxyType

from governance.errors import ProtectionError
from governance.protect.transforms.base import Transform
from governance.protect.transforms.format_preserving import FormatPreserving
from governance.protect.transforms.free_text import Redact
from governance.protect.transforms.generalization import AgeCap, Bucket, DateToYear
from governance.protect.transforms.identity import Pseudonym, Token
from governance.protect.transforms.masking import Mask, Truncate
from governance.protect.transforms.perturbation import BottomCode, DateShift, Noise, TopCode
from governance.protect.transforms.postal import Zip3
from governance.protect.transforms.release import Constant, Drop, Keep

_ALL: tuple[Transform, ...] = (
    Keep(),
    Drop(),
    Constant(),
    Mask(),
    Pseudonym(),
    Token(),
    Redact(),
    DateToYear(),
    Zip3(),
    AgeCap(),
    Truncate(),
    Bucket(),
    FormatPreserving(),
    DateShift(),
    Noise(),
    TopCode(),
    BottomCode(),
)
_BY_NAME = MappingProxyType({t.name: t for t in _ALL})


def transform_names() -> tuple[str, ...]:
    return tuple(_BY_NAME)


def transform(name: str) -> Transform:
    """The transform registered under ``name``. Raises GOV-305 with the names there are."""
    found = _BY_NAME.get(name)
    if found is None:
        raise ProtectionError(
            "GOV-305", f"there is no transform named {name!r}", f"write one of {', '.join(_BY_NAME)}"
        )
    return found
