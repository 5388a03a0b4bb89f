"""Cells of the public summary of training content, in the order of the Commission's template."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from governance.audit.ai_act.lineage import System, Used, contract_of, said_in_contract
from governance.audit.cells import Cell, conflicting, declared, observed, unknown
from governance.audit.declarations import items, part, words
from governance.audit.record import listed
from governance.audit.trail import Trail
from governance.model.evidence import Stage

SOURCES = ("public", "licensed", "third_party", "crawled", "user_data", "synthetic", "other")
"""The template's list of sources, by the contract's word."""

_BILLION = 10**9
_MOST_TOKENS = 10**15
"""As the contract's schema has it; a hundred times what the largest models read."""
_CONTACT = ("name", "address", "country", "email")


@dataclass(frozen=True, slots=True)
class Declared:
    """What the contract of one version says of its content; ``cites`` are the contract, or the opening without one."""

    used: Used
    said: dict[str, Any]
    cites: list[int]


@dataclass(frozen=True, slots=True)
class Summary:
    """A system with what its contracts declare of the content, by version."""

    trail: Trail
    system: System

    @property
    def content(self) -> list[Declared]:
        found = []
        for used in self.system.used:
            contract = contract_of(self.trail, used.run)
            opened = [used.run.opened.index] if used.run else used.cites
            cites = [contract.index, *opened] if contract else opened
            found.append(Declared(used, part(said_in_contract(contract), "content"), cites))
        return found

    @property
    def cites(self) -> list[int]:
        """What the emptiness of a cell rests on."""
        return [i for d in self.content for i in d.cites] or self.system.cites or self.system.policy_cite

    def texts(self, member: str, missing: str) -> Cell:
        """One line a dataset that declares it; which do not stands in the note."""
        said = {d.used.dataset: words(d.said, member) for d in self.content}
        value = [f"{dataset}: {text}" for dataset, text in sorted(said.items()) if text]
        silent = sorted(dataset for dataset, text in said.items() if not text)
        if not value:
            return unknown(missing, self.cites)
        return declared(value, self.cites, f"nothing is declared for {listed(silent)}" if silent else None)

    def named(self, member: str, missing: str) -> Cell:
        """Every name that any dataset declares."""
        lists = {d.used.name: items(d.said, member) for d in self.content}
        value = sorted({str(name) for names in lists.values() for name in names})
        silent = sorted(name for name, names in lists.items() if not names)
        if not value:
            return unknown(missing, self.cites)
        return declared(value, self.cites, f"nothing is declared for {listed(silent)}" if silent else None)


def provider(s: Summary) -> Cell:
    said = part(s.system.declared, "provider")
    if said:
        return declared({k: said[k] for k in _CONTACT if isinstance(said.get(k), str)}, s.system.policy_cite)
    name = words(s.system.policy.organisation, "name") if s.system.policy else None
    if name is None:
        return unknown("the policy names neither a provider nor the organisation", s.system.policy_cite)
    return declared(
        {"name": name}, s.system.policy_cite, "the organisation, as no other provider is declared"
    )


def representative(s: Summary) -> Cell:
    said = part(s.system.declared, "representative")
    if not said:
        return unknown("the policy declares no authorised representative for it", s.system.policy_cite)
    return declared({k: said[k] for k in _CONTACT if isinstance(said.get(k), str)}, s.system.policy_cite)


def model(s: Summary) -> Cell:
    """Its name, and the digests of the files that trainings made."""
    value: dict[str, Any] = {
        "name": s.system.name,
        "title": words(s.system.declared, "title"),
        "digests": [str(t.body.get("digest")) for t in s.system.trainings] or None,
    }
    cites = [*s.system.policy_cite, *(t.index for t in s.system.trainings), *s.cites]
    return declared(value, cites)


def dependencies(s: Summary) -> Cell:
    based = [str(name) for name in items(s.system.declared, "basedOn")]
    if not based:
        return unknown("the policy declares no models it was made from", s.system.policy_cite)
    return declared(based, s.system.policy_cite)


def placed(s: Summary) -> Cell:
    day = words(s.system.declared, "placedOnMarket")
    if day is None:
        return unknown(
            "the policy declares no day on which it was placed on the market", s.system.policy_cite
        )
    return declared(day, s.system.policy_cite)


def continuous(s: Summary) -> Cell:
    said = s.system.declared.get("continuouslyTrained")
    if not isinstance(said, bool):
        return unknown("the policy does not say whether it goes on being trained", s.system.policy_cite)
    if not said and len(s.system.trainings) > 1:
        cites = [*s.system.policy_cite, *(t.index for t in s.system.trainings)]
        note = f"the policy says it is not, and the log has {len(s.system.trainings)} trainings of it"
        return conflicting(said, cites, note)
    return declared(said, s.system.policy_cite)


def size(s: Summary) -> Cell:
    """Rows and bytes, from evidence. Rows of versions that share segments would count twice: each version stands alone."""
    rows = [_size(used) for used in s.system.used]
    found = [(row, cites) for row, cites in rows if row is not None]
    if not found:
        return unknown("no released version of it was counted", s.cites)
    cites = [i for _, cited in found for i in cited]
    missing = sorted(u.name for u, (row, _) in zip(s.system.used, rows, strict=True) if row is None)
    note = f"not counted: {listed(missing)}" if missing else None
    return observed([row for row, _ in found], cites, note)


def _size(used: Used) -> tuple[dict[str, Any] | None, list[int]]:
    protect = used.run.stages.get(Stage.PROTECT) if used.run else None
    released = used.run.release("released") if used.run else None
    if used.run is None or protect is None or released is None:
        return None, []
    files = [part(f) for seg in items(protect.facts, "segments") for f in items(part(seg), "files")]
    columns = [part(c) for c in items(protect.facts, "schema")]
    row = {
        "dataset": used.dataset,
        "version": used.version,
        "rows": released.facts.get("rows"),
        "columns_of_text": sum(c.get("type") in ("string", "large_string") for c in columns),
        "bytes": sum(f["size"] for f in files if f.get("role") == "data" and isinstance(f.get("size"), int)),
    }
    return row, [used.run.opened.index, protect.index, released.index]


def band(s: Summary) -> Cell:
    """The template's band for text. Bytes are compressed and encrypted, so tokens are known only where declared."""
    said = {d.used.dataset: d.said.get("tokens") for d in s.content}
    counts = {
        dataset: n
        for dataset, n in said.items()
        if isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= _MOST_TOKENS
    }
    if not counts:
        return unknown("no contract declares tokens, and none are counted", s.cites)
    total = sum(counts.values())
    missing = sorted(said.keys() - counts.keys())
    if missing or s.system.outside:
        what = listed([*missing, *s.system.outside])
        return declared({"text": _band(total), "tokens_at_least": total}, s.cites, f"without {what}")
    return declared({"text": _band(total), "tokens": total}, s.cites)


def _band(tokens: int) -> str:
    # The bands could not be read in the template's text when this was written: they want checking.
    if tokens < _BILLION:
        return "less than 1 billion tokens"
    return (
        "1 billion to 10 trillion tokens" if tokens <= 10_000 * _BILLION else "more than 10 trillion tokens"
    )


def acquired(s: Summary) -> Cell:
    """The latest month declared; of an earlier opening, evidence shows more: no row of it came later."""
    months = [month for d in s.content if (month := words(d.said, "acquiredUntil"))]
    opened = {u.name: u.run.opened for u in s.system.used if u.run}
    latest = max((p.received_at for p in opened.values()), default=None)
    cites = [*s.cites, *(p.index for p in opened.values())]
    if not months:
        if latest is None:
            return unknown("no contract declares it, and no run is in evidence", cites)
        value = {"declared": None, "not_after": latest[:7]}
        return observed(value, cites, "when the newest source was pinned: nothing in it can be later")
    value = {"declared": max(months), "not_after": latest[:7] if latest else None}
    if latest is not None and max(months) > latest[:7]:
        return conflicting(value, cites, "a later month is declared than that in which the source was pinned")
    silent = sorted(d.used.name for d in s.content if not words(d.said, "acquiredUntil"))
    return declared(value, cites, f"nothing is declared for {listed(silent)}" if silent else None)


def sources(s: Summary, source: str) -> Cell:
    """The datasets that belong to one section of the template."""
    by_dataset = _sources(s.content)
    unsaid = sorted(dataset for dataset, said in by_dataset.items() if not said)
    mixed = {dataset: said for dataset, said in by_dataset.items() if len(said) > 1 and source in said}
    own = [d for d in s.content if words(d.said, "source") == source]
    value = [
        {
            "dataset": d.used.dataset,
            "version": d.used.version,
            "description": words(d.said, "description"),
            "rows": (_size(d.used)[0] or {}).get("rows"),
        }
        for d in own
    ]
    if mixed:
        note = "; ".join(
            f"{dataset} is declared {' and '.join(sorted(said))}" for dataset, said in sorted(mixed.items())
        )
        return conflicting(value, s.cites, note)
    gaps = [*unsaid, *s.system.outside]
    if own:
        return declared(value, s.cites, f"nothing is declared for {listed(gaps)}" if gaps else None)
    if gaps or not by_dataset:
        return unknown("not for every input a source is declared, so one may belong here", s.cites)
    return declared([], s.cites, "every input is declared to be of another source")


def _sources(content: Iterable[Declared]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for d in content:
        said = words(d.said, "source")
        found.setdefault(d.used.dataset, set()).update([said] if said else [])
    return found


def personal(s: Summary) -> Cell:
    """Personal data in it, by classification, and how much of it left out for want of consent."""
    names: set[str] = set()
    denied, cites = 0, []
    for used in s.system.used:
        classify = used.run.stages.get(Stage.CLASSIFY) if used.run else None
        consent = used.run.stages.get(Stage.CONSENT) if used.run else None
        if used.run is None or classify is None:
            continue
        cites += [used.run.opened.index, classify.index]
        names |= {str(part(c).get("classification")) for c in items(classify.facts, "columns")} - {
            "none",
            "None",
        }
        if consent is not None and isinstance(consent.facts.get("denied"), int):
            denied += consent.facts["denied"]
            cites.append(consent.index)
    if not cites:
        return unknown("no classification is in evidence", s.cites)
    return observed(
        {"classifications_in_the_source": sorted(names), "rows_left_out_for_want_of_consent": denied}, cites
    )
