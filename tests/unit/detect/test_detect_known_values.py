"""Known values are taken out of all rows at once as they would be row by row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from governance.detect.text import known_values
from governance.detect.text.redaction import redact

_EMAILS = ["a7@b.co", "Ann@Mail.com", "élan@x.fr", None, "x y@", "bob@b.co"]
_PHONES = ["+1-201-555-0147", "0147", None, "٣٤٥ 12", "ext", "+49 30 1234567"]
_NAMES = ["Ann Li", "Bo", None, "Jo van Dam", "Müller", "Ann Li"]
_WORDS = [
    "",
    "see",
    "A7@B.CO",
    "a7@b.co",
    "ann@mail.com",
    "ÉLAN@X.FR",
    "+1-201-555-0147",
    "12015550147",
    "0147",
    "\x01",
    "ANN LI",
    "annex",
    "Li.",
    "é",
]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_cutting_out_at_once_is_cutting_out_row_by_row(
    kind: pa.DataType, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(5)
    rows = 600
    texts = [" ".join(random.choice(_WORDS, random.integers(0, 5))) for _ in range(rows)]
    known = {
        "email": pa.array([_EMAILS[n] for n in random.integers(0, 6, rows)], kind),
        "phone": pa.array([_PHONES[n] for n in random.integers(0, 6, rows)], kind),
        "person_name": pa.array([_NAMES[n] for n in random.integers(0, 6, rows)], kind),
    }
    given = pa.array(texts, kind)
    at_once = redact(given, known)
    monkeypatch.setattr(
        known_values, "_replaced_once", lambda texts, rows, *_: pa.nulls(len(rows), texts.type)
    )
    assert at_once.equals(redact(given, known))
    assert not at_once.equals(given)
