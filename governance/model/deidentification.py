"""How a dataset is claimed to be de-identified under HIPAA (45 CFR 164.514(b))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SAFE_HARBOR: Final = "safe_harbor"
EXPERT: Final = "expert_determination"


@dataclass(frozen=True, slots=True)
class Deidentification:
    """A contract's claim: Safe Harbor, with who declared on which day (``YYYY-MM-DD``) to have no actual
    knowledge that the rows could identify someone (164.514(b)(2)(ii)), or the name of an expert's
    determination in the policy (164.514(b)(1))."""

    profile: str
    declared_by: str | None = None
    declared_on: str | None = None
    determination: str | None = None


@dataclass(frozen=True, slots=True)
class Determination:
    """An expert's determination as the policy records it.

    ``decided`` and ``expires`` are days, ``YYYY-MM-DD``; on the second it no longer holds. ``document`` is
    the path of the file with its methods and results (164.514(b)(1)(ii)) and ``digest`` what it must be.
    """

    name: str
    expert: str
    method: str
    decided: str
    expires: str
    risk: str
    document: str
    digest: str
    datasets: tuple[str, ...]
