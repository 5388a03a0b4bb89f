"""Summary of training content: EU AI Act Art. 53(1)(d), after the Commission's template (C(2025) 8311 final).

One row is a model, or a training set on its own; columns are the items of the template. Sizes are those that evidence
has; what only people can say comes from the contract's ``aiAct.content`` and the policy's ``aiSystems``.
"""

from __future__ import annotations

from governance.audit.ai_act import content
from governance.audit.ai_act.content import SOURCES, Summary
from governance.audit.ai_act.datasheet import system_exceptions, system_unknowns
from governance.audit.ai_act.lineage import supports, systems
from governance.audit.cells import Basis, Column, Remark, Row, remark
from governance.audit.newest import newest_organisation, newest_support
from governance.audit.portions.ordered import in_order
from governance.audit.record import Draft, Period, ReportKind
from governance.audit.trail import Trail

_SECTIONS = dict(
    zip(
        SOURCES,
        (
            ("Publicly available datasets", "Template 2.1"),
            ("Datasets licensed by rightsholders", "Template 2.2.1"),
            ("Private datasets from other third parties", "Template 2.2.2"),
            ("Data crawled and scraped from online sources", "Template 2.3"),
            ("User data", "Template 2.4"),
            ("Synthetic data", "Template 2.5"),
            ("Other sources", "Template 2.6"),
        ),
        strict=True,
    )
)

COLUMNS = (
    Column("provider", "Provider", "Template 1.1"),
    Column("representative", "Authorised representative", "Template 1.1"),
    Column("model", "Model", "Template 1.2"),
    Column("dependencies", "Models it was made from", "Template 1.2"),
    Column("placed", "Placed on the Union market", "Template 1.2"),
    Column("modalities", "Modalities", "Template 1.3"),
    Column("band", "Size of the training data, by band", "Template 1.3"),
    Column("size", "Size of the training data, as counted", "Template 1.3"),
    Column("acquired", "Latest date of acquisition", "Template 1.3"),
    Column("continuous", "Trained on continuously", "Template 1.3"),
    Column("languages", "Languages", "Template 1.3"),
    *(Column(f"source_{source}", *_SECTIONS[source]) for source in SOURCES),
    Column("rights", "Respect of reservations of rights", "Template 3.1"),
    Column("illegal", "Removal of illegal content", "Template 3.2"),
    Column("personal", "Personal data in the sources, and what consent left out", "Template 3.3"),
)

_OF_A_MODEL = {"representative", "model", "dependencies", "placed", "continuous"}


def draft(trail: Trail, _period: tuple[str, str] | None, dataset: str | None = None) -> Draft:
    """The summary as of the trail's end. ``dataset``: a training set, or ``models/NAME``."""
    found = systems(trail, dataset)
    shown = [s for s in found if s.is_model or s.used]
    return Draft(
        scope={
            "organisation": newest_organisation(trail).to_json(),
            "datasets": sorted({used.dataset for system in found for used in system.used}),
            "contains": "Every governed version that went into the model, as far as training tasks and lineage tell, or the "
            "newest version of the training set. Data of other stages of training is not in it.",
        },
        period=Period(trail.first_received, trail.last_received, "State at the end of the period"),
        columns=COLUMNS,
        rows=[_row(Summary(trail, system)) for system in shown],
        exceptions=[
            r for s in found for r in (*system_exceptions(trail, s), *_exceptions(Summary(trail, s)))
        ],
        unknowns=[r for s in found for r in system_unknowns(trail, s, dataset)],
        examined={
            "models": sum(s.is_model for s in found),
            "training_sets": sum(not s.is_model for s in found),
            "versions": sum(len(s.used) for s in found),
            "trainings": sum(len(s.trainings) for s in found),
            "inputs_outside": sum(len(s.outside) for s in found),
        },
        statements=(
            "These are inputs to the public summary. Its wording, and what is published of it, is the provider's.",
            "Sizes are of encrypted and compressed files; tokens are not counted.",
        ),
        supports=frozenset((*newest_support(trail), *supports(trail, found))),
    )


def _row(s: Summary) -> Row:
    cells = {
        "provider": content.provider(s),
        "representative": content.representative(s),
        "model": content.model(s),
        "dependencies": content.dependencies(s),
        "placed": content.placed(s),
        "modalities": s.named("modalities", "no contract declares what the data consists of"),
        "band": content.band(s),
        "size": content.size(s),
        "acquired": content.acquired(s),
        "continuous": content.continuous(s),
        "languages": s.named("languages", "no contract declares the languages"),
        **{f"source_{source}": content.sources(s, source) for source in SOURCES},
        "rights": s.texts("rightsReservation", "no contract says how reservations of rights are respected"),
        "illegal": s.texts("illegalContent", "no contract says what was done about illegal content"),
        "personal": content.personal(s),
    }
    # A set on its own is placed on no market.
    named = [c.key for c in COLUMNS if s.system.is_model or c.key not in _OF_A_MODEL]
    return Row(s.system.name, s.system.name, {key: cells[key] for key in named})


def _exceptions(s: Summary) -> list[Remark]:
    """Cells whose declarations conflict with one another or with evidence."""
    cells = {
        "source-conflict": [content.sources(s, source) for source in SOURCES],
        "acquisition-conflict": [content.acquired(s)],
        "continuous-conflict": [content.continuous(s)],
    }
    return [
        remark(code, f"{s.system.name}: {note}.", same[0].cites, basis=Basis.CONFLICTING, count=1)
        for code, found in cells.items()
        for note in dict.fromkeys(str(c.note) for c in found if c.basis is Basis.CONFLICTING)
        if (same := [c for c in found if c.note == note])
    ]


REPORT = ReportKind(
    kind="ai-act-training-summary",
    title="Summary of training content",
    law="Regulation (EU) 2024/1689 (AI Act), Article 53(1)(d)",
    template_version=1,
    takes_period=False,
    draft=draft,
    present=in_order(
        {
            "provider": ("name", "address", "country", "email"),
            "representative": ("name", "address", "country", "email"),
            "model": ("name", "title", "digests"),
            "size": ("dataset", "version", "rows", "columns_of_text", "bytes"),
            "acquired": ("declared", "not_after"),
            **{f"source_{source}": ("dataset", "version", "description", "rows") for source in SOURCES},
        },
        {
            "bytes": "Bytes, encrypted",
            "digests": "Digests of its files",
            "not_after": "Not after, by evidence",
        },
    ),
    parameters=frozenset({"dataset"}),
)
