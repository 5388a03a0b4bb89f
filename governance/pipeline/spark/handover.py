"""What the driver hands its tasks: who is decided how, tokens' keys, what repeats. Sealed, in the run's staging.

AES-256-GCM under a segment key of the version, bound to the file's name; a task gets that key under its
grant. The file is there for as long as the pass is: a task that finds it gone works for nobody any more.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from governance.errors import ProtectionError
from governance.keys.sealing import Altered, Sealer, Secretive
from governance.pipeline.spark.subjects import SubjectTable

_FORM = "governance spark handover v1"


@dataclass(frozen=True, repr=False)
class Handover(Secretive):
    """``repeats`` is of the contract's uniqueness rules, ``token_keys`` by domain, ``policy`` its file."""

    subjects: SubjectTable
    repeats: list[np.ndarray]
    token_keys: dict[str, bytes]
    policy: bytes
    clear: frozenset[str]

    def seal(self, key: bytes, path: str) -> bytes:
        """The file's bytes."""
        arrays = {
            "marks": self.subjects.marks,
            "reasons": self.subjects.reasons,
            "pseudonyms": self.subjects.pseudonyms,
            **{f"repeats.{i}": repeats for i, repeats in enumerate(self.repeats)},
        }
        said = {
            "key": _text(self.subjects.key),
            "token_keys": {domain: _text(token_key) for domain, token_key in self.token_keys.items()},
            "policy": _text(self.policy),
            "clear": sorted(self.clear),
            "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()],
        }
        head = json.dumps(said).encode()
        body = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
        return Sealer(key).seal(len(head).to_bytes(8, "little") + head + body, _FORM, path)

    @classmethod
    def open(cls, sealed: bytes, key: bytes, path: str) -> Handover:
        """What :meth:`seal` was given.

        Raises:
            ProtectionError: GOV-308 when it was altered or is another pass's.
        """
        try:
            opened = Sealer(key).unseal(sealed, _FORM, path)
        except Altered:
            raise ProtectionError(
                "GOV-308",
                f"{path} is not what this pass handed over",
                "start the pass again; nobody but it writes into its staging folder",
            ) from None
        size = int.from_bytes(opened[:8], "little")
        said: dict[str, Any] = json.loads(opened[8 : 8 + size])
        arrays, at = {}, 8 + size
        for name, kind, shape in said["arrays"]:
            count = int(np.prod(shape))
            arrays[name] = np.frombuffer(opened, kind, count, at).reshape(shape)
            at += arrays[name].nbytes
        table = SubjectTable(
            base64.b64decode(said["key"]), arrays["marks"], arrays["reasons"], arrays["pseudonyms"]
        )
        return cls(
            table,
            [arrays[f"repeats.{i}"] for i in range(len(arrays) - 3)],
            {domain: base64.b64decode(token_key) for domain, token_key in said["token_keys"].items()},
            base64.b64decode(said["policy"]),
            frozenset(said["clear"]),
        )


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
