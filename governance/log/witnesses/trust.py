"""Who outside vouches for a log: which witnesses and timestamp authorities are asked, and which are pinned.

``witnesses.yaml`` in the home::

    needed: 1                     # cosignatures a checkpoint needs; without it, all that are listed
    timeout: 5                    # seconds, for all of them together
    witnesses:
      - key: witness.example/w1+1a2b3c4d+BA…
        url: https://witness.example
    timestamps:
      - url: https://tsa.example/tsr
        certificates: tsa.pem     # relative to this file

A verifier pins what it got from elsewhere, not the file of the home it verifies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.errors import LogError, SettingError
from governance.log.note import Checkpoint
from governance.log.witnesses.cosignature import Cosignature, WitnessKey, cosignatures
from governance.log.witnesses.timestamp import Attested, Authority, attested

FILE = "witnesses.yaml"
_TIMEOUT_S = 5.0
_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class WitnessAt:
    """A witness and its submission prefix; empty where it is only pinned."""

    key: WitnessKey
    url: str = ""


@dataclass(frozen=True, slots=True)
class Vouched:
    """What pinned outsiders say of a log.

    ``size`` is the largest tree that ``by`` cosigned in the number needed, None without. ``attested`` are
    the timestamps that hold, by size, ``void`` says why others do not.
    """

    size: int | None
    by: tuple[Cosignature, ...]
    attested: tuple[Attested, ...]
    void: tuple[str, ...]

    @property
    def phrase(self) -> str:
        """What stands in a verdict after *verified,*."""
        parts = []
        if self.size is not None:
            parts.append(
                f"witnessed by {', '.join(c.witness.name for c in self.by)} up to entry {self.size:,}"
            )
        if self.attested:
            newest = self.attested[-1]
            parts.append(
                f"timestamped by {newest.authority} at {newest.at:%Y-%m-%dT%H:%M:%SZ}"
                f" up to entry {newest.checkpoint.size:,}"
            )
        return ", ".join(parts) or "self-attested"

    def unknown(self, size: int) -> Iterator[str]:
        """What pinned outsiders do not say of a log of ``size`` entries, in words."""
        covered = max([self.size or 0, *(a.checkpoint.size for a in self.attested)])
        if self.size is None and not self.attested:
            yield "no outside witness or timestamp vouches for the checkpoints: self-attested by the key holder"
        elif covered < size:
            yield f"the newest {size - covered} entries: no outside witness or timestamp vouches for them yet"
        if self.attested and self.size is None:
            yield "whether another history was shown to others: a timestamp tells when, a witness that it is one"
        yield from self.void

    def to_json(self) -> dict[str, Any]:
        """For machines; ``at`` is POSIX seconds for witnesses, RFC 3339 for timestamps."""
        return {
            "witnessed": None
            if self.size is None
            else {"size": self.size, "by": [{"key": str(c.witness), "at": c.at} for c in self.by]},
            "timestamped": [
                {"size": a.checkpoint.size, "by": a.authority, "at": f"{a.at:%Y-%m-%dT%H:%M:%SZ}"}
                for a in self.attested
            ],
            "void_timestamps": list(self.void),
        }


@dataclass(frozen=True, slots=True)
class Trust:
    """Witnesses, how many of them a checkpoint needs, and timestamp authorities."""

    witnesses: tuple[WitnessAt, ...] = ()
    needed: int = 0
    timeout: float = _TIMEOUT_S
    authorities: tuple[Authority, ...] = ()

    @classmethod
    def pinned(
        cls, witnesses: Sequence[str], needed: int | None, certificates: Sequence[bytes] = ()
    ) -> Trust:
        """What a verifier was told: vkeys of witnesses, how many are needed (None: all), PEM certificates.

        Raises:
            LogError: GOV-506 for a malformed key.
            SettingError: GOV-901 when more are needed than there are.
        """
        keys = [WitnessKey.parse(vkey) for vkey in witnesses]
        return cls._of(
            tuple(WitnessAt(key) for key in keys),
            needed,
            _TIMEOUT_S,
            tuple(Authority("", c) for c in certificates),
        )

    @classmethod
    def read(cls, path: Path) -> Trust:
        """Read ``witnesses.yaml``; without the file nobody is asked.

        Raises:
            SettingError: GOV-901 when it is not of the form above.
        """
        import yaml

        try:
            said = yaml.safe_load(path.read_text("utf-8")) or {}
            if not isinstance(said, dict) or said.keys() - {"needed", "timeout", "witnesses", "timestamps"}:
                raise ValueError("it has members that are not known")
            witnesses = [
                WitnessAt(WitnessKey.parse(_member(entry, "key")), _url(entry))
                for entry in said.get("witnesses") or ()
            ]
            authorities = [
                Authority(_url(entry), (path.parent / _member(entry, "certificates")).read_bytes())
                for entry in said.get("timestamps") or ()
            ]
            timeout = float(said.get("timeout", _TIMEOUT_S))
            if not 0 < timeout <= _LIMIT_S:
                raise ValueError(f"timeout is not between 0 and {_LIMIT_S:g} seconds")
            needed = said.get("needed")
            if needed is not None and type(needed) is not int:
                raise ValueError("needed is not a number")
        except FileNotFoundError as fault:
            if fault.filename == str(path):
                return cls()
            raise _wrong(path, "a file of certificates is not there") from None
        except OSError as fault:
            raise _wrong(path, fault.strerror or "it cannot be read") from None
        except LogError as fault:
            raise _wrong(path, fault.message) from None
        except (ValueError, TypeError, yaml.YAMLError) as fault:
            # YAML's own message quotes the file.
            raise _wrong(path, "it is no YAML" if isinstance(fault, yaml.YAMLError) else str(fault)) from None
        return cls._of(tuple(witnesses), needed, timeout, tuple(authorities))

    @classmethod
    def _of(
        cls,
        witnesses: tuple[WitnessAt, ...],
        needed: int | None,
        timeout: float,
        authorities: tuple[Authority, ...],
    ) -> Trust:
        keys = {witness.key.public_key for witness in witnesses}
        if len(keys) != len(witnesses):
            raise _wrong(None, "a witness is named twice")
        count = len(witnesses) if needed is None else needed
        if not (1 if witnesses else 0) <= count <= len(witnesses):
            raise _wrong(None, f"{count} witnesses are needed of {len(witnesses)}")
        return cls(witnesses, count, timeout, authorities)

    def vouched(self, checkpoints: Sequence[Checkpoint], timestamps: Sequence[bytes] = ()) -> Vouched:
        """What the pinned outsiders say of checkpoints that were verified, and of timestamp leaves' bodies.

        A timestamp counts for a checkpoint that is among the verified ones.

        Raises:
            LogError: GOV-512 when a pinned witness's cosignature is wrong.
            SettingError: GOV-902 when an authority is pinned and rfc3161-client is not installed.
        """
        size: int | None = None
        by: tuple[Cosignature, ...] = ()
        keys = [witness.key for witness in self.witnesses]
        for checkpoint in sorted(checkpoints, key=lambda c: c.size, reverse=True) if keys else ():
            found = cosignatures(checkpoint.note, keys)
            if size is None and len(found) >= self.needed:
                size, by = checkpoint.size, tuple(found)
        good, void = (
            attested(timestamps, [a.certificates for a in self.authorities]) if self.authorities else ([], [])
        )
        known = {checkpoint.text for checkpoint in checkpoints}
        void += [
            f"a timestamp names a checkpoint of size {a.checkpoint.size} that this log did not sign"
            for a in good
            if a.checkpoint.text not in known
        ]
        kept = [a for a in good if a.checkpoint.text in known]
        return Vouched(size, by, tuple(sorted(kept, key=lambda a: a.checkpoint.size)), tuple(void))


def _member(entry: Any, name: str) -> str:
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, str):
        raise ValueError(f"an entry has no {name}")
    return value


def _url(entry: Any) -> str:
    url = _member(entry, "url")
    if not url.startswith(("https://", "http://")) or "@" in url.split("/")[2]:
        raise ValueError("a URL is not http: or https:, or holds a password")
    return url.rstrip("/")


def _wrong(path: Path | None, what: str) -> SettingError:
    return SettingError(
        "GOV-901",
        f"{'the witnesses' if path is None else path} cannot be used: {what}",
        "docs/log.md shows the form of witnesses.yaml",
    )
