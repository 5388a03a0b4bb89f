"""Tokens judged together are judged as one by one."""

import base64
import random
import uuid

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from governance.detect.text.secrets import are_secrets, is_secret

_TOKEN = st.text("abcXYZ019+/_-=AKIAeyJ", max_size=60)


@given(st.lists(st.none() | _TOKEN, max_size=30))
def test_together_as_one_by_one(tokens: list[str | None]) -> None:
    array = pa.array([None if t is None else t.encode() for t in tokens], pa.large_binary())
    assert are_secrets(array).tolist() == [t is not None and is_secret(t) for t in tokens]


def test_random_tokens_uuids_digests_and_known_formats() -> None:
    chance = random.Random(5)
    tokens = [
        *(base64.b64encode(chance.randbytes(30)).decode() for _ in range(5_000)),
        *(str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(50)),
        "Key-" + str(uuid.UUID(int=chance.getrandbits(128))) + "-XyZ9",
        *(chance.randbytes(20).hex() for _ in range(50)),
        "AKIAIOSFODNN7EXAMPLE",
        "a" * 5_000,
        base64.b64encode(chance.randbytes(4_000)).decode(),
    ]
    array = pa.array([t.encode() for t in tokens], pa.large_binary())
    judged = are_secrets(array).tolist()
    assert judged == [is_secret(t) for t in tokens]
    assert sum(judged[:5_000]) > 4_900
    assert are_secrets(array.slice(4_990, 30)).tolist() == judged[4_990:5_020]
