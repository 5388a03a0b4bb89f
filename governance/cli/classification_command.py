"""`governance classification`: what columns hold because of what they came from, and people's corrections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from governance.cli.options import home_options, json_option, settings, show, table

if TYPE_CHECKING:
    from governance.lineage.index.index import Index
    from governance.pipeline.workspace import Workspace


@click.group("classification")
def command() -> None:
    """What columns hold, along lineage, and what people corrected.

    DATASET is NAME for a governed dataset, or NAMESPACE=NAME for any other, e.g. file=/data/customers.csv.
    """


@command.command("explain")
@click.argument("dataset")
@click.argument("column", required=False)
@click.option("--as-of", type=click.IntRange(0), help="A log size: only entries before it count.")
@home_options
@json_option
def explain(
    dataset: str, column: str | None, as_of: int | None, home: str | None, store: str | None, as_json: bool
) -> None:
    """What the columns of DATASET hold: where each classification comes from, which masks were verified.

    A classification that only lineage brings is derived. It stops where a rewriting pass proved that it masks
    and a re-scan of what it wrote does not find it again; where one of the two is missing, it is derived, not
    verified.
    """
    from governance.lineage.classifications.answers import explained
    from governance.lineage.classifications.propagation import Classifications
    from governance.lineage.classifications.sensitivity_levels import Levels

    workspace, index = _opened(home, store)
    namespace, name = _named(dataset)
    known = Classifications.of(index, as_of)
    levels = Levels.at(index, workspace.log, known.size)
    near = index.upstream(namespace, name, 1, known.size)
    sources = [(row["namespace"], row["name"]) for row in near]
    answer = explained(index, known, levels, namespace, name, column, sources)

    def text() -> None:
        rows = [row for each in answer["columns"] for row in _rows(each)]
        table(("column", "level", "holds", "how", "from", "log entries"), rows)
        for source in answer["without_column_lineage"]:
            click.echo(
                f"{source['namespace']}={source['dataset']} was read too, and no column lineage says what came of it"
            )
        if answer["unresolved"]:
            click.echo(f"treated as {answer['unresolved']['sensitivity'] or 'sensitive'} for that")

    show(answer, as_json, text)


@command.command("correct")
@click.argument("dataset")
@click.argument("column")
@click.argument("classification", required=False)
@click.option("--withdraw", is_flag=True, help="Let findings count again, instead of a CLASSIFICATION.")
@click.option("--by", required=True, help="Who decided: a role or a staff id.")
@click.option("--because", default="", help="Why; needed to lower a sensitivity. No personal data.")
@click.option("--version", help="Only this version. Default: every one from now on.")
@home_options
@json_option
def correct(
    dataset: str,
    column: str,
    classification: str | None,
    withdraw: bool,
    by: str,
    because: str,
    version: str | None,
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Record that COLUMN of DATASET holds CLASSIFICATION (or `none`), whatever was found.

    DATASET may end in * to mean every one whose name begins so. The next scan checks the correction: a detector
    that is surer than what was known now stops the run, or is reported, as the policy says.
    """
    if (classification is None) != withdraw:
        raise click.UsageError("name a CLASSIFICATION, or withdraw with --withdraw")
    from governance.lineage.classifications.correcting import drawn_up, leaf_of
    from governance.lineage.classifications.propagation import Classifications
    from governance.lineage.classifications.sensitivity_levels import Levels
    from governance.log import NewEntry
    from governance.model.canonical import timestamp
    from governance.pipeline.workspace import OPERATOR

    workspace, index = _opened(home, store)
    namespace, name = _named(dataset)
    known = Classifications.of(index)
    correction = drawn_up(
        known,
        Levels.at(index, workspace.log, known.size),
        namespace=namespace,
        name=name,
        column=column,
        to=classification,
        by=by,
        because=because,
        at=timestamp(workspace.clock()),
        version=version,
    )
    [place] = workspace.log.append([NewEntry(*leaf_of(correction, OPERATOR))])
    said = correction.to_json() | {"log_index": place, "principal": OPERATOR}
    before = ", ".join(correction.overruled) or "nothing"
    after = "what is found" if correction.to is None else correction.to
    show(said, as_json, lambda: click.echo(f"{column}: {after} instead of {before}; log entry {place}"))


@command.command("list")
@click.argument("dataset", required=False)
@home_options
@json_option
def listed(dataset: str | None, home: str | None, store: str | None, as_json: bool) -> None:
    """Every correction in the log, or those of DATASET, with who and why; the newest of a column counts."""
    from governance.lineage.classifications.answers import said
    from governance.lineage.classifications.corrections import corrections_in
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store))
    asked = None if dataset is None else _named(dataset)
    found = [
        said(correction)
        for correction in corrections_in(workspace.log, workspace.log.size())
        if asked is None or correction.covers((*asked, correction.column))
    ]
    columns = ("log entry", "dataset", "column", "version", "from", "to", "by", "because", "sent by", "at")
    rows = [
        (
            each["log_index"],
            f"{each['dataset']['namespace']}={each['dataset']['name']}",
            each["column"],
            each["version"] or "all",
            ", ".join(found["classification"] for found in each["from"]),
            each["to"] or "(withdrawn)",
            each["by"],
            each["because"],
            each["principal"],
            each["at"][:19],
        )
        for each in found
    ]
    show(found, as_json, lambda: table(columns, rows))


def _rows(column: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """A row for each classification of a column, and for each that was stopped."""
    named, level = column["column"], column["sensitivity"]
    for held in column["classifications"]:
        path, origin = held["path"], held["origin"]
        steps = [f"{step['from']['column']} ({step['by']})" for step in path] or [f"by {origin['by']}"]
        unproven = [step["verdict"] for step in path if step["masking"]]
        again = [f"again after {step['by']}" for step in held["despite"]]
        how = "; ".join([" ".join([held["status"], *again]), *unproven])
        where = _short(origin["dataset"]) + ": " if path else ""
        entries = [step["log_index"] for step in path] + [origin["log_index"]]
        yield named, level, _label(held), how, where + " ← ".join(steps), _places(entries)
        named = level = ""
    for stops in _together(column["stopped"]):
        at, rescan = stops[0]["at"], stops[0]["rescan"]
        read = f"stopped: not found again in {rescan['values_read']:,} values"
        if rescan["miss_bound"] is not None:
            read += f", a sample; more than {rescan['miss_bound']:.2%} of them would have shown"
        where = f"{_short(at['from']['dataset'])}: {at['from']['column']} ({at['by']})"
        holds = f"no {', '.join(stop['classification'] for stop in stops)}"
        holds += " (in text)" if stops[0]["contained"] else ""
        yield named, level, holds, read, where, _places([at["log_index"], rescan["log_index"]])
        named = level = ""
    for overruled in column["overruled"]:
        new = "" if overruled["seen"] else ", which the person had not seen"
        entry = column["correction"]["log_index"]
        yield named, level, f"no {_label(overruled)}", f"corrected{new}", column["correction"]["by"], entry
        named = level = ""
    correction = column["correction"]
    if correction is not None and correction["contested_by"] is not None:
        how = "contested: a later scan is sure of something else"
        places = _places([correction["log_index"], correction["contested_by"]])
        yield named, level, "", how, correction["by"], places
        named = level = ""
    if named:
        yield named, level, "none" if column["known"] else "unknown", "", "", ""


def _together(stopped: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """What the same edges stopped."""
    edges: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for stop in stopped:
        at = stop["at"]
        edge = (at["log_index"], *at["from"].values(), stop["contained"])
        edges.setdefault(edge, []).append(stop)
    return list(edges.values())


def _label(held: dict[str, Any]) -> str:
    return f"{held['classification']}{' (in text)' if held['contained'] else ''}"


def _places(entries: list[int]) -> str:
    return ", ".join(str(entry) for entry in dict.fromkeys(entries))


def _short(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2] or name


def _opened(home: str | None, store: str | None) -> tuple[Workspace, Index]:
    from governance.lineage.index.index import Index
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store))
    return workspace, Index.build(workspace.log, evidence_public_key=workspace.evidence_public_key)


def _named(dataset: str) -> tuple[str, str]:
    from governance.pipeline.open import DATASETS

    namespace, found, name = dataset.partition("=")
    return (namespace, name) if found else (DATASETS, dataset)
