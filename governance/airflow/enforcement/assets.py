"""Which governed dataset an asset stands for, however it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow.sdk import Asset, AssetAlias
from airflow.sdk.definitions.asset import (
    AssetBooleanCondition,
    AssetNameRef,
    AssetUriRef,
)

SCHEME = "gov"
NAMESPACE = "governance"
MODELS = "models"
"""``gov://governance/models/NAME`` is a model trained on governed datasets."""


@dataclass(frozen=True, slots=True)
class Touched:
    """An asset as a DAG names it. ``dataset`` is the governed dataset it is, or ``None``.

    ``model`` is the governed model it is. ``doubt`` says why it cannot be told what it is.
    """

    shown: str
    dataset: str | None = None
    model: str | None = None
    doubt: str | None = None

    @property
    def governed(self) -> bool:
        return self.dataset is not None or self.model is not None


def touched(declared: Iterable[Any], datasets: frozenset[str], roots: tuple[str, ...]) -> Iterator[Touched]:
    """Every asset of inlets, outlets or a schedule, conditions taken apart.

    Args:
        declared: assets, references, aliases and conditions of them; what is none of these is passed over.
        datasets: the governed datasets, by name.
        roots: where their versions lie, as paths or URIs: an asset below one is the dataset too.
    """
    for asset in declared:
        if isinstance(asset, AssetBooleanCondition):
            yield from touched(asset.objects, datasets, roots)
        elif isinstance(asset, AssetAlias):
            yield Touched(asset.name, doubt="an alias becomes an asset only while the task runs")
        elif isinstance(asset, AssetNameRef):
            yield Touched(asset.name, dataset=asset.name if asset.name in datasets else None)
        elif isinstance(asset, AssetUriRef):
            yield _of_uri(asset.uri, None, datasets, roots)
        elif isinstance(asset, Asset):
            yield _of_uri(asset.uri, asset.name, datasets, roots)


def _of_uri(uri: str, name: str | None, datasets: frozenset[str], roots: tuple[str, ...]) -> Touched:
    parts = urlsplit(uri)
    if parts.scheme == SCHEME:
        path = [unquote(part) for part in parts.path.split("/") if part]
        if parts.netloc == NAMESPACE and len(path) == 2 and path[0] == MODELS:
            return Touched(uri, model=path[1])
        if parts.netloc != NAMESPACE or len(path) != 1:
            return Touched(uri, doubt=f"no governed dataset has such a URI: gov://{NAMESPACE}/DATASET")
        # Airflow lets one URI have several names, and a reference by such a name could not be recognised.
        if name is not None and name != path[0]:
            return Touched(uri, dataset=path[0], doubt=f"it is called {name!r}, not {path[0]!r}")
        return Touched(uri, dataset=path[0])
    if name in datasets:
        return Touched(uri, dataset=name, doubt=f"it has the name of a governed dataset and the URI {uri}")
    for root in roots:
        if uri.startswith(root.rstrip("/") + "/"):
            below = unquote(uri[len(root.rstrip("/")) + 1 :].split("/")[0])
            return Touched(uri, dataset=below)
    return Touched(uri)
