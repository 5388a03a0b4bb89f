"""Transforms: their promises, over any array Arrow can make of the values."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from governance.errors import ProtectionError
from governance.protect.transforms import TransformContext, transform, transform_names
from governance.protect.transforms.identity import hexadecimal
from governance.protect.transforms.postal import restricted_areas

UNICODE = st.characters(exclude_categories=["Cs"])
KEY = hashlib.sha256(b"customer").digest()


def context(rows: int, **arguments: Any) -> TransformContext:
    return TransformContext(
        ordinals=np.arange(rows, dtype=np.int64),
        pseudonyms=lambda o: np.frombuffer(
            b"".join(hashlib.md5(b"%d" % n, usedforsecurity=False).digest() for n in o), np.uint8
        ).reshape(-1, 16),
        token_key=lambda _: KEY,
        redact=lambda text: pa.array([None if v is None else "[TEXT]" for v in text.to_pylist()]),
        arguments=arguments,
        year=2026,
    )


def apply(name: str, values: pa.Array, **arguments: Any) -> pa.Array:
    chosen = transform(name)
    expected = chosen.output_type(values.type, arguments)
    out = chosen.apply(values, context(len(values), **arguments))
    assert out.type == expected
    assert len(out) == len(values)
    out.validate(full=True)
    assert chosen.verify(values, out, arguments)
    return out


def texts(
    alphabet: st.SearchStrategy[str] = UNICODE,
) -> st.SearchStrategy[pa.Array]:
    """String arrays of every encoding, sliced, empty, with nulls."""
    values = st.lists(st.none() | st.text(alphabet), max_size=12)

    def encode(drawn: tuple[list[str | None], str, int, int]) -> pa.Array:
        items, kind, skip, drop = drawn
        array = pa.array(items, pa.string())
        if kind == "dictionary":
            array = array.dictionary_encode()
        elif kind != "string":
            array = array.cast(getattr(pa, kind)())
        return array.slice(min(skip, len(array)), max(len(array) - skip - drop, 0))

    kinds = st.sampled_from(["string", "large_string", "dictionary", "string_view"])
    return st.tuples(values, kinds, st.integers(0, 3), st.integers(0, 3)).map(encode)


def test_unknown_transform_lists_the_names() -> None:
    with pytest.raises(ProtectionError) as caught:
        transform("hash")
    assert caught.value.code == "GOV-305"
    assert all(name in caught.value.remedy for name in transform_names())


@pytest.mark.parametrize("name", transform_names())
def test_unknown_arguments_are_refused(name: str) -> None:
    with pytest.raises(ProtectionError) as caught:
        transform(name).output_type(pa.string(), {"nonsense": 1})
    assert caught.value.code == "GOV-305"
    assert "nonsense" in caught.value.message


@pytest.mark.parametrize(
    ("name", "type_", "arguments"),
    [
        ("mask", pa.string(), {"keep_last": -1}),
        ("mask", pa.string(), {"keep_last": 2, "keep_first": 2}),
        ("mask", pa.string(), {"with": "xx"}),
        ("mask", pa.string(), {"keep_last": 100}),
        ("mask", pa.float64(), {}),
        ("truncate", pa.string(), {}),
        ("truncate", pa.string(), {"length": True}),
        ("bucket", pa.int32(), {"width": 0}),
        ("bucket", pa.int32(), {"width": 1.5}),
        ("bucket", pa.string(), {"width": 5}),
        ("constant", pa.string(), {}),
        ("constant", pa.string(), {"value": [1]}),
        ("zip3", pa.string(), {"edition": "1990"}),
        ("zip3", pa.string(), {"otherwise": "x"}),
        ("age_cap", pa.date32(), {}),
        ("date_to_year", pa.int32(), {}),
        ("token", pa.string(), {"domain": "customer"}),
        ("token", pa.string(), {"domain": "customer", "erasable": True}),
        ("token", pa.string(), {"domain": "customer", "erasable": 0}),
        ("token", pa.string(), {"erasable": False}),
        ("redact", pa.int32(), {}),
    ],
)
def test_wrong_arguments_are_refused(name: str, type_: pa.DataType, arguments: dict[str, Any]) -> None:
    with pytest.raises(ProtectionError) as caught:
        transform(name).output_type(type_, arguments)
    assert caught.value.code == "GOV-305"


@given(texts())
def test_keep_decodes_and_changes_nothing(values: pa.Array) -> None:
    assert apply("keep", values).to_pylist() == values.to_pylist()


@given(texts())
def test_drop_and_constant_tell_nothing(values: pa.Array) -> None:
    assert apply("drop", values).null_count == len(values)
    assert set(apply("constant", values, value="REMOVED").to_pylist()) <= {"REMOVED"}
    assert not transform("drop").released


@given(texts(), st.integers(0, 5), st.sampled_from(["keep_last", "keep_first"]), st.sampled_from("*#日"))
def test_mask_equals_its_definition(values: pa.Array, kept: int, end: str, character: str) -> None:
    def expected(value: str | None) -> str | None:
        if value is None:
            return None
        if len(value) <= kept or kept == 0:
            return character * len(value)
        hidden = character * (len(value) - kept)
        return hidden + value[-kept:] if end == "keep_last" else value[:kept] + hidden

    out = apply("mask", values, **{end: kept, "with": character})
    assert out.to_pylist() == [expected(v) for v in values.to_pylist()]


@given(texts(), st.integers(0, 3))
def test_mask_verification_sees_a_value_that_survived(values: pa.Array, kept: int) -> None:
    plain = values.dictionary_decode() if pa.types.is_dictionary(values.type) else values.cast(pa.string())
    survives = any(v and v.strip("*") and len(v.strip("*")) > kept for v in plain.to_pylist())
    if survives:
        assert not transform("mask").verify(values, plain, {"keep_last": kept})


def test_mask_takes_whole_numbers() -> None:
    assert apply("mask", pa.array([123456, None]), keep_last=2).to_pylist() == ["****56", None]


@given(texts(), st.integers(1, 4))
def test_truncate_equals_slicing(values: pa.Array, length: int) -> None:
    out = apply("truncate", values, length=length)
    assert out.to_pylist() == [None if v is None else v[:length] for v in values.to_pylist()]


@given(texts())
def test_pseudonyms_follow_the_ordinals(values: pa.Array) -> None:
    out = apply("pseudonym", values)
    for row, (value, name) in enumerate(zip(values.to_pylist(), out.to_pylist(), strict=True)):
        digest = hashlib.md5(b"%d" % row, usedforsecurity=False).hexdigest()
        assert name == (None if value is None else digest)


def test_pseudonym_of_an_unknown_subject_is_null() -> None:
    asked: list[int] = []
    known = context(3)
    ctx = TransformContext(
        np.array([5, -1, 7]),
        lambda o: asked.extend(o.tolist()) or known.pseudonyms(o),  # type: ignore[func-returns-value]
        known.token_key,
        known.redact,
        {},
        2026,
    )
    out = transform("pseudonym").apply(pa.array(["a", "b", "c"]), ctx).to_pylist()
    assert out[1] is None
    assert out[0] != out[2]
    assert asked == [5, 7]


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=9), st.data())
def test_hexadecimal_equals_bytes_hex(blocks: list[bytes], data: st.DataObject) -> None:
    valid = np.array(data.draw(st.lists(st.booleans(), min_size=len(blocks), max_size=len(blocks))), bool)
    array = hexadecimal(np.frombuffer(b"".join(blocks), np.uint8).reshape(-1, 16), valid)
    array.validate(full=True)
    assert array.to_pylist() == [b.hex() if v else None for b, v in zip(blocks, valid, strict=True)]


@given(texts())
def test_token_is_the_cmac_of_the_value(values: pa.Array) -> None:
    def expected(value: str | None) -> str | None:
        if value is None:
            return None
        mac = CMAC(AES(KEY))
        mac.update(value.encode())
        return mac.finalize().hex()

    out = apply("token", values, domain="customer", erasable=False)
    assert out.to_pylist() == [expected(v) for v in values.to_pylist()]


@given(texts())
def test_redact_keeps_nulls(values: pa.Array) -> None:
    out = apply("redact", values)
    assert out.to_pylist() == [None if v is None else "[TEXT]" for v in values.to_pylist()]


@pytest.mark.parametrize(
    "survivor", ["write to a.b@example.com now", "ssn 123-45-6789.", "A@EXAMPLE.ORG", "(665-01-0001)"]
)
def test_redact_verification_finds_survivors(survivor: str) -> None:
    after = pa.array(["fine", None, survivor])
    assert not transform("redact").verify(after, after, {})


@pytest.mark.parametrize(
    "harmless", ["[EMAIL] on 2024-01-02", "order 000-12-3456", "666-12-3456", "a @ b.com"]
)
def test_redact_verification_lets_tags_and_other_numbers_pass(harmless: str) -> None:
    assert transform("redact").verify(pa.array([harmless]), pa.array([harmless]), {})


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("1980-03-12", 1980),
        ("1980-03-12T10:11:12Z", 1980),
        ("1980-03-12 10:11:12.5+02:00", 1980),
        ("1980/3/2", 1980),
        ("19800312", 1980),
        ("12/03/1980", 1980),
        ("3/12/1980", 1980),
        ("12.03.1980", 1980),
        ("12. 03. 1980", 1980),
        ("12-03-1980", 1980),
        ("12 Mar 1980", 1980),
        ("12. März 1980", 1980),
        ("12-MAR-1980", 1980),
        ("Mar 12, 1980", 1980),
        ("March 1980", 1980),
        (" 1980 ", 1980),
        ("1980-03", 1980),
        ("12/03/80", None),
        ("unknown", None),
        ("", None),
        ("0980-01-01", None),
        ("3000-01-01", None),
        ("1980-03-12-5", None),
        ("born in 1980", None),
        (None, None),
    ],
)
def test_date_to_year_reads_mixed_formats(text: str | None, year: int | None) -> None:
    assert apply("date_to_year", pa.array([text], pa.string())).to_pylist() == [year]


def test_date_to_year_of_dates_and_timestamps() -> None:
    days = pa.array([date(1980, 12, 31), None])
    assert apply("date_to_year", days).to_pylist() == [1980, None]
    assert apply("date_to_year", days.cast(pa.date64())).to_pylist() == [1980, None]
    late = datetime(1979, 12, 31, 23, 30, tzinfo=UTC)
    for type_ in (pa.timestamp("us"), pa.timestamp("ns", "UTC"), pa.timestamp("ms", "Asia/Tokyo")):
        assert apply("date_to_year", pa.array([late, None], type_)).to_pylist() == [1979, None]


def test_date_to_year_drops_years_of_people_over_89() -> None:
    births = pa.array([date(1936, 1, 1), date(1937, 1, 1)])
    assert apply("date_to_year", births).to_pylist() == [None, 1937]
    assert apply("date_to_year", births, maximum_age=None).to_pylist() == [1936, 1937]


@given(texts(st.sampled_from("0123456789-/. :TZMarch")))
def test_date_to_year_never_passes_anything_else(values: pa.Array) -> None:
    for value, year in zip(values.to_pylist(), apply("date_to_year", values).to_pylist(), strict=True):
        assert year is None or (str(year) in value and 1937 <= year <= 2200)


def test_zip3() -> None:
    values = pa.array(
        ["94110", "94110-1234", " 02138", "10212", "03655", "20500", "SW1A 1AA", "", None, "123"]
    )
    assert apply("zip3", values).to_pylist() == [
        "941", "941", "021", "000", "000", "000", "000", "000", None, "000",
    ]  # fmt: skip
    assert apply("zip3", values, otherwise=None).to_pylist()[6:] == [None, None, None, None]
    assert apply("zip3", values, edition="2000").to_pylist()[5] == "205"
    assert apply("zip3", pa.array([2138, 94110, None])).to_pylist() == ["021", "941", None]


def test_the_census_2000_list_is_the_one_of_the_guidance() -> None:
    listed = [
        "036", "059", "063", "102", "203", "556", "692", "790", "821",
        "823", "830", "831", "878", "879", "884", "890", "893",
    ]  # fmt: skip
    assert list(restricted_areas("2000")) == listed
    assert set(listed) < set(restricted_areas())


@given(texts(st.sampled_from("0123456789- ")))
def test_zip3_form(values: pa.Array) -> None:
    for value, area in zip(values.to_pylist(), apply("zip3", values).to_pylist(), strict=True):
        assert (area is None) == (value is None)
        assert area is None or (re.fullmatch("[0-9]{3}", area) and area not in restricted_areas())


def test_zip3_verification_refuses_a_restricted_area() -> None:
    before = pa.array(["03655"])
    assert not transform("zip3").verify(before, pa.array(["036"]), {})
    assert not transform("zip3").verify(before, before, {})


def test_age_cap_of_numbers_and_text() -> None:
    assert apply("age_cap", pa.array([0, 89, 90, 2**31 - 1, -4, None], pa.int32())).to_pylist() == [
        0, 89, 90, 90, None, None,
    ]  # fmt: skip
    assert apply("age_cap", pa.array([42.9, 89.5, 90.0, float("nan"), None])).to_pylist() == [
        42, 90, 90, None, None,
    ]  # fmt: skip
    texts_ = pa.array(["42", " 93 ", "42.0", "ninety", "", "1e3", None])
    assert apply("age_cap", texts_).to_pylist() == [42, 90, 42, None, None, None, None]
    assert apply("age_cap", pa.array([70], pa.uint64()), maximum=64).to_pylist() == [65]


INTEGERS = st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=8)


@given(INTEGERS, st.integers(1, 10**6))
def test_bucket_of_integers_equals_floor_division(values: list[int | None], width: int) -> None:
    out = apply("bucket", pa.array(values, pa.int64()), width=width).to_pylist()
    for value, low in zip(values, out, strict=True):
        out_of_reach = value is None or abs(value) > 2**62
        assert low == (None if out_of_reach else value // width * width)


@pytest.mark.parametrize("type_", [pa.int8(), pa.uint8(), pa.int16(), pa.uint32(), pa.uint64()])
def test_bucket_of_narrow_integers(type_: pa.DataType) -> None:
    assert apply("bucket", pa.array([7, 120, None], type_), width=50).to_pylist() == [0, 100, None]


@given(st.lists(st.none() | st.floats(-1e9, 1e9), max_size=8), st.sampled_from([1, 0.5, 10, 2.5]))
def test_bucket_of_numbers(values: list[float | None], width: float) -> None:
    out = apply("bucket", pa.array(values, pa.float64()), width=width).to_pylist()
    for value, low in zip(values, out, strict=True):
        assert (low is None) == (value is None)
        assert low is None or low - 1e-9 <= value < low + width + 1e-6


@pytest.mark.parametrize("name", transform_names())
def test_a_column_of_nulls_stays_silent(name: str) -> None:
    arguments: dict[str, Any] = {
        "constant": {"value": "x"},
        "token": {"domain": "d", "erasable": False},
        "truncate": {"length": 2},
        "bucket": {"width": 2},
        "ff1": {"domain": "d", "erasable": False},
        "noise": {"domain": "d", "deviation": 1},
        "date_shift": {"domain": "d"},
        "top_code": {"maximum": 1},
        "bottom_code": {"minimum": 1},
    }.get(name, {})
    type_ = pa.int64() if name in ("bucket", "noise", "top_code", "bottom_code") else pa.string()
    out = apply(name, pa.nulls(3, type_), **arguments)
    assert out.null_count == (0 if name == "constant" else 3)
    assert len(apply(name, pa.nulls(0, type_), **arguments)) == 0
