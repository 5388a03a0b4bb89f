"""People correct classifications: what they saw, what is refused, and the leaf it becomes."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import NamedTuple

from governance.errors import ContractError
from governance.lineage.classifications.answers import Explainer
from governance.lineage.classifications.propagation import Classifications
from governance.lineage.classifications.sensitivity_levels import Levels
from governance.model.canonical import canonical
from governance.model.classification import FREE_TEXT, HARMLESS, UNCLASSIFIED
from governance.model.correction import CORRECTION, Correction, read_correction
from governance.model.principal import scope_of

LONGEST_REASON = 300
LONGEST_AUTHOR = 100
_SHOWN = 20


class Leaf(NamedTuple):
    """What is appended to the log."""

    body: bytes
    media_type: str
    principal: str


def drawn_up(
    known: Classifications,
    levels: Levels,
    *,
    namespace: str,
    name: str,
    column: str,
    to: str | None,
    by: str,
    because: str,
    at: str,
    version: str | None = None,
) -> Correction:
    """A correction that says what the person overrules, after it was found sound.

    Args:
        known: what columns hold now.
        levels: of the policy in force.
        name: a dataset; with a ``*`` at its end every one that begins so.
        to: a classification, ``none``, or ``None`` to withdraw.
        at: the instant, RFC 3339.
        version: only this one; ``None`` means all from now on.

    Raises:
        ContractError: GOV-118 for an unknown column or classification, for a lower sensitivity without a
            reason, and for words that hold personal data.
    """
    asked = Correction(namespace, name, column, to, by.strip(), because.strip(), at, version)
    explainer = Explainer(known, levels)
    meant = [where for where in explainer.every_column() if where[0] == namespace and _named(name, where[1])]
    columns = sorted({where[2] for where in meant})
    if column not in columns:
        raise _refused(
            f"nothing in the log speaks of a column {column} of {name}",
            f"use one of {', '.join(columns[:_SHOWN])}"
            if columns
            else "check the dataset's namespace and name",
        )
    seen: dict[str, float] = {}
    for where in (each for each in meant if each[2] == column):
        found = known.probabilities.get(where, {})
        for classification in {*explainer.classifications(where), *explainer.overruled(where), *found}:
            seen[classification] = max(seen.get(classification, 0.0), found.get(classification, 0.0))
    for nothing in (HARMLESS, to):
        seen.pop(nothing or HARMLESS, None)
    correction = Correction(namespace, name, column, to, asked.by, asked.because, at, version, seen)
    _require_sound(correction, levels)
    return correction


def leaf_of(correction: Correction, principal: str) -> Leaf:
    """The leaf that holds a correction.

    Raises:
        ContractError: GOV-118 when the principal may not correct.
    """
    body = canonical(correction.to_json())
    if read_correction(body, principal, 0) is None:
        raise _refused(
            f"a principal of scope {scope_of(principal) or 'none'} may not correct classifications",
            "use a token with the scope admin or rights",
        )
    return Leaf(body, CORRECTION, principal)


def _named(asked: str, name: str) -> bool:
    return name.startswith(asked[:-1]) if asked.endswith("*") else name == asked


def _require_sound(correction: Correction, levels: Levels) -> None:
    if correction.to is not None:
        from governance.detect import taxonomy

        names: Collection[str] = {*taxonomy(), *(levels.of or ()), HARMLESS, FREE_TEXT}
        if correction.to not in names:
            near = get_close_matches(correction.to, sorted(names), 1)
            raise _refused(
                f"there is no classification {correction.to}",
                f"did you mean {near[0]}?" if near else "use a name of the taxonomy or the policy, or none",
            )
    if correction.name == "*":
        raise _refused("a pattern means every dataset", "write the beginning of the names, then *")
    lowers = correction.to is None or levels.lowers(set(correction.overruled) - {UNCLASSIFIED}, correction.to)
    if lowers and not correction.because:
        raise _refused(
            f"to call {correction.column} less sensitive than it was found needs a reason",
            "say why (--because), without quoting a value",
        )
    if not correction.by:
        raise _refused("a correction names nobody who decided it", "say who (--by): a role or a staff id")
    _require_clean("reason", correction.because, LONGEST_REASON)
    _require_clean("author", correction.by, LONGEST_AUTHOR)


def _require_clean(what: str, text: str, longest: int) -> None:
    if len(text) > longest or (text and not text.isprintable()):
        raise _refused(f"the {what} is not one line of at most {longest} characters", "write it shorter")
    if not text:
        return
    from governance.detect import classify_text

    # Who decided may be named; a value of the dataset may stand nowhere.
    allowed = {"person_name"} if what == "author" else set()
    kinds = sorted({finding.classification for finding in classify_text([text])[0]} - allowed)
    if kinds:
        raise _refused(
            f"the {what} holds what looks like {', '.join(kinds)}",
            "say it without personal data: the log keeps it",
        )


def _refused(message: str, remedy: str) -> ContractError:
    return ContractError("GOV-118", message, remedy)
