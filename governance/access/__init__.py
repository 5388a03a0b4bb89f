"""Governed reading of released versions, and disclosure to recipients."""

from governance.access.disclose import Disclosure, disclose
from governance.access.opening import open_disclosure
from governance.access.read import read_released

__all__ = ["Disclosure", "disclose", "open_disclosure", "read_released"]
