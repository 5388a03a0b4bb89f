"""Patterns: RE2 finds what Python finds, and LIKE what SQL finds; what cannot be said is refused."""

import re
import sqlite3
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from governance.model.contract import Rule, RuleScope
from governance.validate import judge
from governance.validate.regex import Untranslatable, like, re2_of

PATTERNS = [
    r"\d+",
    r"^\w+$",
    r"\s",
    r"[^\d\s]x",
    r"(?i)straße",
    r"(?i)[i-k]",
    r"a$",
    r"(a|b$)",
    r"^a\Z",
    r"(?m)^b$",
    r".",
    r"(?s)a.b",
    r"a{2,3}?",
    r"(?a:\w)é",
    r"[\W_]",
    r"\.",
    r"[a\-c]",
    r"(?P<n>a)(?:b|)",
    r"a{,2}b",
    r"(?x) a  b ",
    r"[[:alpha:]]",
    r"\x41|\u00e9",
]


def test_a_pattern_finds_in_re2_what_it_finds_in_python() -> None:
    random = np.random.default_rng(5)
    letters = "aAbBcx1٣²_-. \n\r\u00a0\u2028éÉßſKkiIİıstr:[]lphẞ\U0001d7d8"
    texts = ["", "\n", "a\n", "b\n\n", "straße", "STRASSE", "ſtraße", "STRAẞE"]
    texts += ["".join(random.choice(list(letters), int(n))) for n in random.integers(1, 7, 1500)]
    column = pa.array(texts)
    for pattern in PATTERNS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = [re.search(pattern, text) is not None for text in texts]
        assert pc.match_substring_regex(column, re2_of(pattern)).to_pylist() == wanted, pattern


@pytest.mark.parametrize(
    "pattern", [r"(?=a)", r"(a)\1", r"\bword\b", r"a$b", "a{1001}", "(?>a+)b", "(?(1)a|b)()"]
)
def test_what_re2_cannot_say_is_not_said(pattern: str) -> None:
    with pytest.raises((Untranslatable, re.error)):
        re2_of(pattern)


def test_like_patterns_are_those_of_sql() -> None:
    texts = ["abc", "abd", "a%c", "a_c", "ac", "", "a\nc", "ABC", "abcd"]
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA case_sensitive_like = on")
    for pattern, escape in [
        ("a%", None),
        ("a_c", None),
        ("%", None),
        ("", None),
        ("a!%c", "!"),
        ("a!_c", "!"),
        ("%b%", None),
    ]:
        clause = "? LIKE ?" + (" ESCAPE ?" if escape else "")
        wanted = [
            bool(
                connection.execute(
                    f"SELECT {clause}", [t, pattern, *([escape] if escape else [])]
                ).fetchone()[0]
            )
            for t in texts
        ]
        assert pc.match_substring_regex(pa.array(texts), like(pattern, escape)).to_pylist() == wanted, pattern
    with pytest.raises(Untranslatable):
        like("a!b", "!")
    rule = Rule(
        "r",
        "expect_column_values_to_not_match_like_pattern_list",
        {"column": "s", "like_pattern_list": ["a%", "_"]},
        RuleScope.PROTECTED,
    )
    data = pa.table({"s": ["abc", "x", "yy", None]})
    assert judge(data.to_batches(), data.schema, [rule]).results[0]["result"]["unexpected_count"] == 2
