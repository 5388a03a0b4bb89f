"""The people of a contract's rows, numbered across the vault's domains.

An ordinal counts within one domain. Where rows name people of several, the number of somebody of the domain at place
``i`` of ``SubjectColumn.every_domain`` is the ordinal plus ``i << 40``; of the subject's own domain it is the ordinal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from governance.model.contract import SubjectColumn
from governance.pipeline.step import RunContext

_BITS = 40
Ordinals = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


def numbered(subject: SubjectColumn, domain: str, ordinals: Ordinals) -> Ordinals:
    """Ordinals of a domain as numbers; what is below 0 stays."""
    base = subject.every_domain.index(domain) << _BITS
    return np.where(ordinals >= 0, ordinals + base, ordinals) if base else ordinals


def of_domain(subject: SubjectColumn, domain: str, people: Ordinals) -> Ordinals:
    """The ordinals of those of the numbers, all ≥ 0, that are a domain's."""
    of: Ordinals = people[people >> _BITS == subject.every_domain.index(domain)]
    return of & ((1 << _BITS) - 1)


def local(people: Ordinals) -> Ordinals:
    """Numbers as ordinals of their domains; what is below 0 stays."""
    if not people.size or people.max() < 1 << _BITS:
        return people
    return np.where(people >= 0, people & ((1 << _BITS) - 1), people)


def gathered(
    subject: SubjectColumn, people: Ordinals, of: Callable[[str, Ordinals], Bytes], width: int
) -> Bytes:
    """What ``of(domain, ordinals)`` says of each number, all ≥ 0: (m, width) uint8."""
    if len(subject.every_domain) == 1:
        return of(subject.domain, people)
    found = np.zeros((len(people), width), np.uint8)
    for domain, mask in by_domain(subject, people):
        found[mask] = of(domain, local(people[mask]))
    return found


def by_domain(subject: SubjectColumn, people: Ordinals) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Each domain of which there is anybody, and where."""
    for place, domain in enumerate(subject.every_domain):
        mask = people >> _BITS == place
        if mask.any():
            yield domain, mask


def withdrawn_since(context: RunContext, position: int) -> Ordinals:
    """The numbers of who withdrew between a run's opening and a position of the ledger."""
    subject, now = context.contract.subject, context.workspace.clock()
    late = [
        numbered(
            subject,
            domain,
            context.workspace.ledger.late(
                context.policy.purposes[context.run.purpose],
                domain,
                now,
                context.run.consent_position,
                position,
                context.workspace.vault.internal(domain),
                opened_at=context.run.opened_at,
                special_category=context.contract.special_category,
            ),
        )
        for domain in subject.every_domain
    ]
    return np.concatenate(late)
