"""Rows of the three sample datasets, sampled from people and pools and made dirty on purpose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.demo.samples_canaries import Hidden
from governance.demo.samples_people import CANARY_SUBJECTS, People, token
from governance.demo.samples_pools import Pools, joined, npi_pool, padded, phones
from governance.demo.samples_text import NOTE_FINDINGS, NOTE_IDENTIFIERS, PROMPTS, REPLIES, render

_US_PER_DAY = 86_400_000_000
_FIRST_DAY = np.datetime64("2022-01-01", "D").astype(np.int64)
_STAMP = pa.timestamp("us", tz="UTC")
_DIAGNOSES = (
    ("I10", "Essential hypertension", "lisinopril"),
    ("E11.9", "Type 2 diabetes mellitus", "metformin"),
    ("J45.909", "Asthma, unspecified", "albuterol"),
    ("F32.9", "Major depressive disorder", "sertraline"),
    ("M54.50", "Low back pain", "ibuprofen"),
    ("K21.9", "Gastro-esophageal reflux disease", "omeprazole"),
    ("N39.0", "Urinary tract infection", "nitrofurantoin"),
    ("E78.5", "Hyperlipidemia", "atorvastatin"),
    ("B20", "HIV disease", "bictegravir"),
    ("C50.911", "Malignant neoplasm of breast", "tamoxifen"),
    ("G43.909", "Migraine", "sumatriptan"),
    ("E03.9", "Hypothyroidism", "levothyroxine"),
    ("F41.1", "Generalized anxiety disorder", "escitalopram"),
    ("I48.91", "Atrial fibrillation", "apixaban"),
    ("J18.9", "Pneumonia", "amoxicillin"),
)
_DEPARTMENTS = (
    "Cardiology",
    "Emergency",
    "Internal Medicine",
    "Oncology",
    "Psychiatry",
    "Pediatrics",
    "Surgery",
)
_TOPICS = ("billing", "login", "shipping", "refund", "subscription", "warranty")


@dataclass(frozen=True, slots=True)
class Rows:
    """A dataset's table and the canaries hidden in it beyond those of its people."""

    table: pa.Table
    hidden: list[Hidden]


class Encounters:
    """Clinical encounters in chunks, so that any number of rows fits in memory."""

    schema = pa.schema(
        [
            ("encounter_id", pa.string()),
            ("mrn", pa.string()),
            ("patient_name", pa.string()),
            ("date_of_birth", pa.date32()),
            ("age", pa.int32()),
            ("sex", pa.string()),
            ("phone", pa.string()),
            ("email", pa.string()),
            ("ssn", pa.string()),
            ("street_address", pa.string()),
            ("city", pa.string()),
            ("state", pa.string()),
            ("postal_code", pa.string()),
            ("country", pa.string()),
            ("jurisdiction", pa.string()),
            ("insurance_member_id", pa.string()),
            ("admitted_at", _STAMP),
            ("discharged_at", _STAMP),
            ("department", pa.string()),
            ("diagnosis_code", pa.string()),
            ("diagnosis", pa.string()),
            ("medication", pa.string()),
            ("attending_npi", pa.string()),
            ("length_of_stay_days", pa.int32()),
            ("total_charge", pa.float64()),
            ("clinical_note", pa.string()),
        ]
    )

    def __init__(self, patients: People, pools: tuple[Pools, ...], seed: int) -> None:
        self.hidden: list[Hidden] = []
        self._patients = patients
        self._seed = seed
        self._npi = npi_pool(np.random.default_rng([seed, 6]), 2_000)
        self._names = pa.concat_arrays([pool.name for pool in pools])

    def chunk(self, start: int, stop: int) -> pa.Table:
        """Rows ``start`` to ``stop`` and a few exact duplicates of them."""
        rng = np.random.default_rng([self._seed, 7, start])
        rows = stop - start
        who = (rng.beta(0.8, 1.6, rows) * len(self._patients)).astype(np.int64)
        forced = np.arange(CANARY_SUBJECTS) * 7 + 3
        who[forced] = np.arange(CANARY_SUBJECTS)
        dirt = _Dirt(rng, rows, forced)
        at = pa.array(who)

        def of(column: str) -> pa.Array:
            return self._patients.take(column, at)

        number = rng.integers(0, len(_DIAGNOSES), rows)
        code, diagnosis, medication = (
            pa.array(v).take(pa.array(number)) for v in zip(*_DIAGNOSES, strict=True)
        )
        admitted = (_FIRST_DAY + rng.integers(0, 1_400, rows)) * _US_PER_DAY + rng.integers(
            0, 86_400, rows
        ) * 1_000_000
        stay = np.minimum(rng.exponential(3.0, rows).astype(np.int64), 120)
        left = admitted + stay * _US_PER_DAY + rng.integers(3_600, 43_200, rows) * 1_000_000
        age = (admitted // _US_PER_DAY - of("birth").cast(pa.int32()).to_numpy()) * 10_000 // 3_652_425
        note = self._notes(who, at, age, diagnosis, medication, admitted, rng)
        sex = dirt.replaced(of("sex"), ["female", "X9", "9"], 0.004)
        columns = {
            "encounter_id": joined("ENC-", padded(np.arange(start, stop), 10)),
            "mrn": dirt.nulled(of("subject"), 0.003),
            "patient_name": dirt.nulled(of("name"), 0.01),
            "date_of_birth": dirt.nulled(of("birth"), 0.02),
            "age": dirt.nulled(dirt.replaced(pa.array(age, pa.int32()), [-3, 212, 999], 0.003), 0.01),
            "sex": dirt.nulled(sex, 0.01),
            "phone": dirt.nulled(of("phone"), 0.08),
            "email": dirt.nulled(of("email"), 0.12),
            "ssn": dirt.nulled(of("ssn"), 0.1),
            "street_address": dirt.nulled(of("street"), 0.03),
            "city": dirt.nulled(of("city"), 0.02),
            "state": of("state"),
            "postal_code": dirt.nulled(of("postal_code"), 0.03),
            "country": of("country"),
            "jurisdiction": dirt.nulled(dirt.replaced(of("jurisdiction"), ["ZZ"], 0.003), 0.004),
            "insurance_member_id": dirt.nulled(of("member"), 0.15),
            "admitted_at": pa.array(admitted).cast(_STAMP),
            "discharged_at": dirt.nulled(pa.array(left).cast(_STAMP), 0.04),
            "department": dirt.nulled(pa.array(_DEPARTMENTS).take(pa.array(rng.integers(0, 7, rows))), 0.01),
            "diagnosis_code": dirt.nulled(code, 0.01),
            "diagnosis": dirt.nulled(diagnosis, 0.02),
            "medication": dirt.nulled(medication, 0.1),
            "attending_npi": dirt.nulled(
                self._npi.take(pa.array(rng.integers(0, len(self._npi), rows))), 0.02
            ),
            "length_of_stay_days": dirt.nulled(pa.array(stay, pa.int32()), 0.01),
            "total_charge": dirt.nulled(
                dirt.replaced(pa.array(np.round(rng.lognormal(7.5, 1.1, rows), 2)), [-120.5, -1.0], 0.003),
                0.01,
            ),
            "clinical_note": dirt.nulled(note, 0.05),
        }
        table = pa.table(columns, schema=self.schema)
        return _duplicated(table, rng, 0.003, _FORCED_SPAN)

    def _notes(
        self,
        who: NDArray[np.int64],
        at: pa.Array,
        age: NDArray[np.int64],
        diagnosis: pa.Array,
        medication: pa.Array,
        admitted: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> pa.Array:
        rows = len(who)
        locale = self._patients.locale[who]
        fields = _contact_fields(self._patients, at) | {
            "age": pa.array(age).cast(pa.string()),
            "diagnosis": diagnosis,
            "medication": medication,
            "other": self._names.take(pa.array(rng.integers(0, len(self._names), rows))),
            "date": _mixed_dates(pa.array((admitted // _US_PER_DAY).astype(np.int32)).cast(pa.date32()), rng),
        }
        findings = render(NOTE_FINDINGS, locale, fields, rng)
        hidden = pc.if_else(
            pa.array(rng.random(rows) < 0.35), render(NOTE_IDENTIFIERS, locale, fields, rng), ""
        )
        plain = joined(findings, hidden)
        marks: dict[int, str] = {}
        for canary in range(CANARY_SUBJECTS):
            mail = f"canary-{token(rng).lower()}@example.org"
            phone = phones(rng, 0, 1)[0].as_py()
            name = self._patients.canaries["name"][canary]
            mrn = self._patients.canaries["subject"][canary]
            marks[canary * 7 + 3] = (
                f"Patient {name} (MRN {mrn}) seen for review. "
                f"Contact by e-mail {mail} or phone {phone}. Continue treatment."
            )
            self.hidden += [
                Hidden("clinical_note", value, kind, canary)
                for value, kind in (
                    (mail, "email"),
                    (phone, "phone"),
                    (name, "person_name"),
                    (mrn, "medical_record_number"),
                )
            ]
        return _put(plain, marks)


_FORCED_SPAN = CANARY_SUBJECTS * 7 + 3


def customers(people: People, rows: int, rng: np.random.Generator) -> Rows:
    """Customer profiles: every customer once, then again as of another signup, with mixed dates."""
    who = np.concatenate([np.arange(len(people)), rng.integers(0, len(people), max(0, rows - len(people)))])[
        :rows
    ]
    dirt = _Dirt(rng, len(who), np.arange(CANARY_SUBJECTS))
    at = pa.array(who)
    signup = pa.array((_FIRST_DAY + rng.integers(-1_500, 1_300, len(who))).astype(np.int32)).cast(pa.date32())

    def choose(values: list[str]) -> pa.Array:
        return pa.array(values).take(pa.array(rng.integers(0, len(values), len(who))))

    table = pa.table(
        {
            "customer_id": dirt.nulled(people.take("subject", at), 0.003),
            "full_name": dirt.nulled(people.take("name", at), 0.01),
            "email": dirt.nulled(people.take("email", at), 0.05),
            "phone": dirt.nulled(people.take("phone", at), 0.15),
            "birth_date": dirt.nulled(_mixed_dates(people.take("birth", at), rng), 0.1),
            "street_address": dirt.nulled(people.take("street", at), 0.04),
            "city": dirt.nulled(people.take("city", at), 0.03),
            "postal_code": dirt.nulled(people.take("postal_code", at), 0.03),
            "country": people.take("country", at),
            "jurisdiction": dirt.nulled(dirt.replaced(people.take("jurisdiction", at), ["ZZ"], 0.004), 0.004),
            "iban": dirt.nulled(people.take("iban", at), 0.2),
            "ip_address": dirt.nulled(people.take("ip", at), 0.05),
            "loyalty_tier": dirt.replaced(
                choose(["bronze", "silver", "gold", "platinum"]), ["BRONZE?", "none"], 0.004
            ),
            "lifetime_value": dirt.nulled(
                dirt.replaced(pa.array(np.round(rng.lognormal(5, 1.2, len(who)), 2)), [-50.0], 0.004), 0.02
            ),
            "signup_date": dirt.nulled(signup.cast(pa.string()), 0.01),
            "marketing_segment": dirt.nulled(
                choose(["families", "students", "seniors", "professionals"]), 0.08
            ),
        }
    )
    return Rows(_duplicated(table, rng, 0.004, CANARY_SUBJECTS), [])


def conversations(people: People, rows: int, rng: np.random.Generator) -> Rows:
    """Support conversations whose prompts carry what people type about themselves."""
    who = (rng.beta(0.8, 1.4, rows) * len(people)).astype(np.int64)
    forced = np.arange(CANARY_SUBJECTS) * 5 + 2
    who[forced] = np.arange(CANARY_SUBJECTS)
    dirt = _Dirt(rng, rows, forced)
    at = pa.array(who)
    locale = people.locale[who]
    topic = pa.array(_TOPICS).take(pa.array(rng.integers(0, len(_TOPICS), rows)))
    fields = _contact_fields(people, at) | {"topic": topic, "iban": people.take("iban", at)}
    marks: dict[int, str] = {}
    answers: dict[int, str] = {}
    hidden: list[Hidden] = []
    for canary in range(CANARY_SUBJECTS):
        mail = f"canary-{token(rng).lower()}@example.org"
        reply = f"canary-{token(rng).lower()}@example.org"
        phone = phones(rng, 0, 1)[0].as_py()
        name, subject = people.canaries["name"][canary], people.canaries["subject"][canary]
        marks[canary * 5 + 2] = (
            f"My name is {name}, customer number {subject}. Write to {mail} or call {phone} about my refund."
        )
        answers[canary * 5 + 2] = f"Thank you. The confirmation was sent to {reply}."
        hidden += [
            Hidden("prompt", mail, "email", canary),
            Hidden("prompt", phone, "phone", canary),
            Hidden("prompt", name, "person_name", canary),
            Hidden("prompt", subject, "customer_id", canary),
            Hidden("agent_reply", reply, "email", canary),
        ]
    prompt = _put(render(PROMPTS, locale, fields, rng), marks)
    table = pa.table(
        {
            "conversation_id": joined("CONV-", padded(np.arange(rows), 9)),
            "customer_id": dirt.nulled(people.take("subject", at), 0.003),
            "jurisdiction": dirt.nulled(dirt.replaced(people.take("jurisdiction", at), ["ZZ"], 0.003), 0.004),
            "channel": pa.array(["chat", "e-mail", "phone", "app"]).take(pa.array(rng.integers(0, 4, rows))),
            "language": pa.array(["en", "de", "fr", "es"]).take(pa.array(locale)),
            "topic": dirt.nulled(topic, 0.03),
            "prompt": dirt.nulled(dirt.replaced(prompt, ["", "   "], 0.004), 0.003),
            "agent_reply": dirt.nulled(_put(render(REPLIES, locale, fields, rng), answers), 0.02),
            "satisfaction": dirt.nulled(
                dirt.replaced(pa.array(rng.integers(1, 6, rows)), [0, 11, -1], 0.004), 0.25
            ),
        }
    )
    return Rows(_duplicated(table, rng, 0.003, _FORCED_SPAN), hidden)


class _Dirt:
    """Spoils values at random, never those of rows that carry a canary."""

    def __init__(self, rng: np.random.Generator, rows: int, clean: NDArray[np.int64]) -> None:
        self._rng = rng
        self._eligible = np.ones(rows, dtype=bool)
        self._eligible[clean] = False

    def _chosen(self, share: float) -> NDArray[np.bool_]:
        return self._eligible & (self._rng.random(len(self._eligible)) < share)

    def nulled(self, values: pa.Array, share: float) -> pa.Array:
        return pc.if_else(pa.array(self._chosen(share)), pa.scalar(None, values.type), values)

    def replaced(self, values: pa.Array, wrong: list[object], share: float) -> pa.Array:
        chosen = self._chosen(share)
        with_what = pa.array(wrong, values.type).take(
            pa.array(self._rng.integers(0, len(wrong), int(chosen.sum())))
        )
        return pc.replace_with_mask(values, pa.array(chosen), with_what)


def _contact_fields(people: People, at: pa.Array) -> dict[str, pa.Array]:

    def of(column: str) -> pa.Array:
        return people.take(column, at)

    return {
        "name": of("name"),
        "phone": of("phone"),
        "email": of("email"),
        "mrn": of("subject"),
        "ssn": of("ssn"),
        "address": joined(of("street"), ", ", of("postal_code"), " ", of("city")),
    }


def _mixed_dates(dates: pa.Array, rng: np.random.Generator) -> pa.Array:
    formats = [pc.strftime(dates, format=f) for f in ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d %b %Y")]
    return pc.choose(pa.array(rng.choice(4, len(dates), p=(0.55, 0.2, 0.2, 0.05))), *formats)


def _put(texts: pa.Array, at: dict[int, str]) -> pa.Array:
    mask = np.zeros(len(texts), dtype=bool)
    mask[sorted(at)] = True
    return pc.replace_with_mask(texts, pa.array(mask), pa.array([at[i] for i in sorted(at)], pa.string()))


def _duplicated(table: pa.Table, rng: np.random.Generator, share: float, first: int) -> pa.Table:
    """Append exact copies of some rows, as a source that was loaded twice in part would have."""
    again = rng.integers(first, table.num_rows, max(1, int(table.num_rows * share)))
    return pa.concat_tables([table, table.take(pa.array(again))]).combine_chunks()
