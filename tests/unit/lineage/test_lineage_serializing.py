"""Our serializer gives the client's bytes, whatever stands in an event."""

import datetime
import json
import uuid
from enum import Enum
from typing import Any

import attr
import numpy as np
import pytest
from emission_samples import run_event
from hypothesis import given
from hypothesis import strategies as st
from openlineage.client import facet_v2
from openlineage.client.serde import Serde

from governance.lineage.emission.serializing import serialized


class Colour(Enum):
    RED = "red"
    NONE = None


class Text(str):
    """A string of a kind of its own."""


@attr.define
class Holder:
    a: Any
    _b: Any = None


leaves: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.sampled_from(
        [
            Colour.RED,
            Colour.NONE,
            Text("t"),
            uuid.UUID(int=7),
            datetime.date(2026, 11, 24),
            datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC),
            np.int64(5),
            b"bytes",
            object,
            {},
            [],
            (),
            frozenset({1}),
            {3: "number as key"},
        ]
    ),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=4), inner, max_size=4),
        st.builds(Holder, inner, inner),
    ),
    max_leaves=15,
)


@given(st.one_of(st.builds(Holder, values, values), st.dictionaries(st.text(max_size=3), values, max_size=3)))
def test_it_gives_the_clients_bytes(event: Any) -> None:
    try:
        wanted = Serde.to_json(event).encode()
    except Exception as error:
        with pytest.raises(type(error)):
            serialized(event)
        return
    assert serialized(event) == wanted


def test_it_gives_the_clients_bytes_for_every_kind_of_facet() -> None:
    event = run_event()
    event.run.facets = {
        "parent": facet_v2.parent_run.ParentRunFacet(
            facet_v2.parent_run.Run("01a20b6a-c323-7f68-b456-23cd917a82a4"),
            facet_v2.parent_run.Job("ns", "j"),
        ),
        "errorMessage": facet_v2.error_message_run.ErrorMessageRunFacet("m", "python", None),
        "tags": facet_v2.tags_run.TagsRunFacet([facet_v2.tags_run.TagsRunFacetFields("k", "v", "s")]),
    }
    assert serialized(event) == Serde.to_json(event).encode()
    assert json.loads(serialized(event))["run"]["facets"]["tags"]["tags"] == [
        {"key": "k", "source": "s", "value": "v"}
    ]
