"""FF1, date shift, noise and cut tails: their promises over any array, and a wrong output is seen."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from protect_support import pseudonyms

from governance.errors import ProtectionError
from governance.keys.ff1 import FF1
from governance.protect.transforms import TransformContext, transform, transform_names

KEYED = {"domain": "citizen", "erasable": False}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "ff1": KEYED,
    "date_shift": {"domain": "citizen"},
    "noise": {"domain": "citizen", "epsilon": 1, "sensitivity": 10},
    "top_code": {"maximum": 5},
    "bottom_code": {"minimum": 5},
}

EASY: dict[str, dict[str, Any]] = {"token": KEYED, "truncate": {"length": 2}, "bucket": {"width": 2}}


def key(label: str) -> bytes:
    return hashlib.sha256(label.encode()).digest()


def context(ordinals: Sequence[int], arguments: dict[str, Any]) -> TransformContext:
    return TransformContext(
        ordinals=np.array(ordinals, np.int64),
        pseudonyms=pseudonyms,
        token_key=key,
        redact=lambda text: text,
        arguments=arguments,
        year=2026,
    )


def apply(name: str, values: pa.Array, ordinals: Sequence[int] | None = None, **arguments: Any) -> pa.Array:
    arguments = {**ARGUMENTS[name], **arguments}
    chosen = transform(name)
    expected = chosen.output_type(values.type, arguments)
    out = chosen.apply(values, context(range(len(values)) if ordinals is None else ordinals, arguments))
    assert (out.type, len(out)) == (expected, len(values))
    out.validate(full=True)
    assert chosen.verify(values, out, arguments)
    return out


def arrays(values: st.SearchStrategy[Any], *kinds: pa.DataType) -> st.SearchStrategy[pa.Array]:
    """Sliced, empty, with nulls, dictionary-encoded or not."""

    def made(drawn: tuple[list[Any], pa.DataType, bool, int, int]) -> pa.Array:
        items, kind, encoded, skip, drop = drawn
        array = pa.array(items, kind)
        array = array.dictionary_encode() if encoded and kind != pa.string_view() else array
        return array.slice(min(skip, len(array)), max(len(array) - skip - drop, 0))

    listed = st.lists(st.none() | values, max_size=12)
    return st.tuples(listed, st.sampled_from(kinds), st.booleans(), st.integers(0, 3), st.integers(0, 3)).map(
        made
    )


TEXTS = arrays(
    st.text() | st.from_regex(r"[0-9 ().+-]{0,18}", fullmatch=True) | st.text("0123456789", max_size=40),
    pa.string(), pa.large_string(), pa.string_view(),
)  # fmt: skip


@given(TEXTS)
def test_ff1_keeps_the_shape_and_is_inverted_by_the_key(values: pa.Array) -> None:
    out = apply("ff1", values).to_pylist()
    for before, after in zip(values.to_pylist(), out, strict=True):
        readable = before is not None and re.fullmatch(r"[0-9 ./()+-]*", before)
        digits = re.sub(r"\D", "", before) if readable else ""
        assert (after is not None) == (6 <= len(digits) <= 36)
        if after is None:
            continue
        assert re.sub(r"\d", "x", after) == re.sub(r"\d", "x", before)
        sealed = np.array([[int(c)] for c in re.sub(r"\D", "", after)], np.uint8)
        opened = FF1(key("citizen"), 10, len(digits)).decrypt(sealed)
        assert "".join(map(str, opened[:, 0])) == digits


@given(arrays(st.from_regex(r"[0-9]{3}-[0-9]{2}-[0-9]{4}", fullmatch=True), pa.string()))
def test_ff1_of_values_of_one_shape_is_that_of_mixed_ones(values: pa.Array) -> None:
    together = apply("ff1", values).to_pylist()
    one_by_one = [
        apply(
            "ff1", pa.concat_arrays([values.slice(i, 1).cast(pa.string()), pa.array(["12345678"])])
        ).to_pylist()[0]
        for i in range(len(values))
    ]
    assert together == one_by_one


@pytest.mark.parametrize(
    ("alphabet", "value"),
    [("hexadecimal", "00ff-12ab"), ("upper", "WXYZ ABCD"), ("digits_upper", "DE 89 3704 0044")],
)
def test_ff1_of_letters(alphabet: str, value: str) -> None:
    (after,) = apply("ff1", pa.array([value]), alphabet=alphabet).to_pylist()
    assert after != value
    assert re.sub("[0-9A-Za-z]", "x", after) == re.sub("[0-9A-Za-z]", "x", value)


def test_ff1_verification_sees_what_was_not_encrypted_or_not_in_shape() -> None:
    values = pa.array(["123-45-6789", "987-65-4321"])
    chosen = transform("ff1")
    for wrong in (
        values,
        pa.array(["123-45-678", "1"]),
        pa.array(["1234567890", "123-45-6789"]),
        values.slice(1),
    ):
        assert not chosen.verify(values, wrong, KEYED)
    many = pa.array([f"{n:06d}" for n in range(100)])
    some_left = pa.array([f"{n:06d}" if n < 50 else "123456" for n in range(100)])
    assert not chosen.verify(many, some_left, KEYED)


@pytest.mark.parametrize(
    ("name", "type_", "arguments", "code"),
    [
        ("ff1", pa.string(), {**KEYED, "minimum_length": 5}, "GOV-316"),
        ("ff1", pa.string(), {**KEYED, "alphabet": "digits_lower", "minimum_length": 3}, "GOV-316"),
        ("ff1", pa.string(), {"domain": "x"}, "GOV-305"),
        ("ff1", pa.string(), {"erasable": False}, "GOV-305"),
        ("ff1", pa.string(), {**KEYED, "alphabet": "greek"}, "GOV-305"),
        ("ff1", pa.int64(), KEYED, "GOV-305"),
        ("date_shift", pa.date32(), {}, "GOV-305"),
        ("date_shift", pa.int64(), {"domain": "d"}, "GOV-305"),
        ("date_shift", pa.date32(), {"domain": "d", "days": 0}, "GOV-305"),
        ("date_shift", pa.date32(), {"domain": "d", "days": 4000}, "GOV-305"),
        ("noise", pa.int64(), {"deviation": 1}, "GOV-305"),
        ("noise", pa.int64(), {"domain": "d"}, "GOV-305"),
        ("noise", pa.int64(), {"domain": "d", "epsilon": 1}, "GOV-305"),
        ("noise", pa.int64(), {"domain": "d", "epsilon": 0, "sensitivity": 1}, "GOV-305"),
        ("noise", pa.int64(), {"domain": "d", "epsilon": 1, "sensitivity": 1, "deviation": 1}, "GOV-305"),
        ("noise", pa.int64(), {"domain": "d", "deviation": float("inf")}, "GOV-305"),
        ("noise", pa.string(), {"domain": "d", "deviation": 1}, "GOV-305"),
        ("top_code", pa.int64(), {}, "GOV-305"),
        ("top_code", pa.int64(), {"maximum": 1.5}, "GOV-305"),
        ("top_code", pa.int8(), {"maximum": 300}, "GOV-305"),
        ("top_code", pa.string(), {"maximum": 3}, "GOV-305"),
        ("bottom_code", pa.int64(), {"minimum": True}, "GOV-305"),
        ("top_code", pa.list_(pa.int64()), {"maximum": 3}, "GOV-305"),
        ("noise", pa.struct([("a", pa.int64())]), {"domain": "d", "deviation": 1}, "GOV-305"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(
    name: str, type_: pa.DataType, arguments: dict[str, Any], code: str
) -> None:
    with pytest.raises(ProtectionError) as caught:
        transform(name).output_type(type_, arguments)
    assert caught.value.code == code


DATES = arrays(st.dates(), pa.date32(), pa.date64())


@given(DATES, st.integers(1, 3650))
def test_a_shift_is_whole_days_within_its_bound_and_never_none(values: pa.Array, days: int) -> None:
    out = apply("date_shift", values, days=days).to_pylist()
    for before, after in zip(values.to_pylist(), out, strict=True):
        if after is None:
            assert before is None or before.year in (*range(1, 12), *range(9989, 10000))
        else:
            assert 1 <= abs((after - before).days) <= days


def test_a_subject_has_one_shift_over_columns_batches_and_types() -> None:
    first = [date(2020, 1, 1), date(2020, 3, 9), date(2021, 5, 5), date(2020, 1, 1)]
    ordinals = [4, 4, 7, -1]
    out = apply("date_shift", pa.array(first), ordinals).to_pylist()
    assert out[3] is None
    assert out[1] - out[0] == timedelta(days=68)
    assert out[0] - first[0] != out[2] - first[2]
    assert apply("date_shift", pa.array(first[1:3]), ordinals[1:3]).to_pylist() == out[1:3]
    text = apply("date_shift", pa.array(["2020-01-01", "2020-02-30", "soon", None]), [4, 4, 4, 4]).to_pylist()
    assert text == [out[0], None, None, None]
    for unit in ("s", "ms", "us", "ns"):
        stamp = pa.array([datetime(2020, 1, 1, 13, 5, tzinfo=UTC)], pa.timestamp(unit, "UTC"))
        (moved,) = apply("date_shift", stamp, [4]).to_pylist()
        assert moved - stamp[0].as_py() == out[0] - first[0]


def test_a_moment_that_would_leave_its_type_becomes_null() -> None:
    edge = pa.array(np.array(["2262-04-10T20:00", "1677-09-22T01:00"], "datetime64[ns]"))
    late, early = (
        [m is None for m in apply("date_shift", edge.take(pa.array([p] * 40))).to_pylist()] for p in (0, 1)
    )
    assert True in late and False in late
    assert True in early and False in early


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.string()), pa.struct([("a", pa.int64())]), pa.map_(pa.string(), pa.int64())]
)
def test_nested_columns_pass_whole_go_whole_or_are_refused(kind: pa.DataType) -> None:
    whole = {"keep": {}, "drop": {}, "constant": {"value": "x"}, "pseudonym": {}}
    values = pa.nulls(3, kind)
    for name in transform_names():
        if name in whole:
            out = transform(name).apply(values, context(range(3), whole[name]))
            assert out.type == transform(name).output_type(kind, whole[name])
            assert transform(name).verify(values, out, whole[name])
        else:
            said = {**ARGUMENTS.get(name, {}), **EASY.get(name, {})}
            with pytest.raises(ProtectionError) as caught:
                transform(name).output_type(kind, said)
            assert caught.value.code == "GOV-305"


def test_date_shift_verification_sees_a_date_that_stayed_or_went_too_far() -> None:
    values = pa.array([date(2020, 1, 1), None])
    for wrong in ([date(2020, 1, 1), None], [date(2022, 1, 1), None], [date(2020, 2, 1), date(2020, 2, 1)]):
        assert not transform("date_shift").verify(values, pa.array(wrong), {})


NUMBERS = (
    arrays(st.integers(0, 120), pa.uint8(), pa.int16(), pa.uint64())
    | arrays(st.floats(), pa.float64())
    | arrays(st.floats(width=32), pa.float32())
    | arrays(st.integers(-(2**63), 2**63 - 1), pa.int64())
)


@given(
    NUMBERS,
    st.sampled_from([{"domain": "d", "epsilon": 0.5, "sensitivity": 3}, {"domain": "d", "deviation": 4.5}]),
)
def test_noise_is_the_same_again_however_it_is_cut(values: pa.Array, said: dict[str, Any]) -> None:
    chosen = transform("noise")
    ordinals = [n % 5 - 1 for n in range(len(values))]
    out = chosen.apply(values, context(ordinals, said))
    assert out.type == chosen.output_type(values.type, said)
    assert chosen.verify(values, out, said)
    again = [chosen.apply(values.slice(i, 1), context(ordinals[i : i + 1], said)) for i in range(len(values))]
    assert [a.to_pylist()[0] for a in again] == out.to_pylist()
    for ordinal, before, after in zip(ordinals, values.to_pylist(), out.to_pylist(), strict=True):
        if ordinal < 0 or before is None or not np.isfinite(before):
            assert after is None


@pytest.mark.parametrize("gaussian", [False, True])
def test_noise_has_its_distribution(gaussian: bool) -> None:
    said: dict[str, Any] = {"deviation": 10} if gaussian else {"epsilon": 0.1, "sensitivity": 1}
    said["domain"] = "citizen"
    rows = 20_000
    values = pa.array(np.full(rows, 50.0))
    blocks = np.random.default_rng(3).integers(0, 256, (rows, 16)).astype(np.uint8)
    drawn = TransformContext(
        np.arange(rows), lambda ordinals: blocks[ordinals], key, lambda text: text, said, 2026
    )
    noise = transform("noise").apply(values, drawn).to_numpy() - 50.0
    # Variance: σ² of the normal, 2b² of the Laplace distribution. Median of |x|: 0.6745σ and b·ln 2.
    assert np.std(noise) == pytest.approx(10 if gaussian else 10 * 2**0.5, rel=0.05)
    assert np.median(np.abs(noise)) == pytest.approx(6.745 if gaussian else 6.931, rel=0.05)
    assert abs(np.mean(noise)) < 0.5
    assert not transform("noise").verify(values, values, said)
    assert not transform("noise").verify(values, pc.add(values, 10_000), said)


@given(NUMBERS, st.integers(0, 100))
def test_tails_are_cut_and_the_rest_stays(values: pa.Array, bound: int) -> None:
    top = apply("top_code", values, maximum=bound).to_pylist()
    bottom = apply("bottom_code", values, minimum=bound).to_pylist()
    for before, high, low in zip(values.to_pylist(), top, bottom, strict=True):
        if before is None or before != before:
            assert high is None and low is None
        else:
            assert (high, low) == (min(before, bound), max(before, bound))


def test_tail_verification_sees_a_value_beyond_and_one_that_changed() -> None:
    values = pa.array([1, 9, 4])
    for wrong in ([1, 9, 4], [1, 5, 3], [1, 5, 4, 4]):
        assert not transform("top_code").verify(values, pa.array(wrong), {"maximum": 5})
    assert transform("top_code").verify(values, pa.array([1, 5, 4]), {"maximum": 5})
