"""Tables for classifications that no open table is labelled with: values made up, headers from the detectors, made messy.

All values come from Faker (MIT licence), from the dictionaries of this package or from a seeded generator; none is
anybody's. The harmless columns beside them are the ones that are taken for something: keys, codes, amounts, labels.
"""

from __future__ import annotations

import base64
import datetime as dt
import random
import string
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from governance.detect.columns.features import US_STATE, name_of
from governance.detect.detectors.dictionaries import entries
from governance.detect.detectors.registry import column_registry

LOCALES = (
    "en_US",
    "en_GB",
    "de_DE",
    "fr_FR",
    "es_ES",
    "es_MX",
    "it_IT",
    "nl_NL",
    "pt_BR",
    "pl_PL",
    "sv_SE",
    "en_IN",
    "cs_CZ",
    "da_DK",
)
_POOL = 250
Maker = Callable[[random.Random, str], str]


@dataclass(frozen=True)
class SyntheticColumn:
    """``values`` as strings, ``None`` where there is none."""

    name: str
    values: tuple[str | None, ...]
    classification: str


@cache
def _pool(kind: str, locale: str) -> tuple[str, ...]:
    from faker import Faker

    fake = Faker(locale)
    fake.seed_instance(f"{kind}{locale}")
    return tuple(str(getattr(fake, kind)()).replace("\n", ", ") for _ in range(_POOL))


def _of(kind: str) -> Maker:
    return lambda chance, locale: chance.choice(_pool(kind, locale))


def _listed(dictionary: str) -> Maker:
    words = entries(dictionary)
    return lambda chance, _: chance.choice(words)


def _digits(chance: random.Random, many: int) -> str:
    return "".join(chance.choice(string.digits) for _ in range(many))


def _letters(chance: random.Random, many: int) -> str:
    return "".join(chance.choice(string.ascii_uppercase) for _ in range(many))


def _masked(pattern: str) -> Maker:
    """``#`` a digit, ``?`` a capital, ``*`` either."""

    def make(chance: random.Random, _: str) -> str:
        return "".join(
            _digits(chance, 1) if c == "#" else _letters(chance, 1) if c == "?"
            else chance.choice(string.digits + string.ascii_uppercase) if c == "*" else c
            for c in pattern
        )  # fmt: skip

    return make


def _npi(chance: random.Random, _: str) -> str:
    from stdnum import luhn

    body = chance.choice("12") + _digits(chance, 8)
    return body + str(luhn.calc_check_digit("80840" + body))


def _nanp(chance: random.Random, _: str) -> str:
    """A North American number in digits alone, of an area that is assigned."""
    area = chance.choice(
        ("202", "212", "213", "303", "312", "404", "415", "416", "512", "617", "702", "713", "808", "919")
    )
    return area + chance.choice("23456789") + _digits(chance, 6)


def _day(first: int, last: int, forms: Sequence[str]) -> Callable[[random.Random], Maker]:
    def styled(chance: random.Random) -> Maker:
        form = chance.choice(forms)

        def make(inner: random.Random, _: str) -> str:
            start = dt.datetime(first, 1, 1)
            return (start + dt.timedelta(minutes=inner.randrange((last - first) * 525_600))).strftime(form)

        return make

    return styled


_DAYS = (
    "%Y-%m-%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%Y%m%d",
    "%d %B %Y",
    "%b %d, %Y",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
    "%m/%d/%Y %I:%M %p",
)


def _sentence(chance: random.Random, locale: str) -> str:
    return " ".join(chance.choice(_pool("sentence", locale)) for _ in range(chance.randrange(1, 4)))


def _note(chance: random.Random, locale: str) -> str:
    who, phone = chance.choice(_pool("name", locale)), chance.choice(_pool("phone_number", locale))
    form = chance.choice(
        (
            "Patient {who} was seen today and reports no new complaints; call {phone}.",
            "Customer {who} asked about the refund for order {n}, will call back.",
            "Hi, this is {who}, I cannot log in since yesterday, can you please check my account {n}?",
            "Follow up in two weeks. Discussed with {who}.",
            "No change since the last visit, patient tolerated the treatment well.",
        )
    )
    return form.format(who=who, phone=phone, n=_digits(chance, 6))


def _base64(size: int) -> Maker:
    return lambda chance, _: base64.b64encode(chance.randbytes(size)).decode()


def _one_of(*makers: Maker) -> Callable[[random.Random], Maker]:
    return lambda chance: chance.choice(makers)


def _words(*words: str) -> Maker:
    return lambda chance, _: chance.choice(words)


def _number(low: float, high: float, places: int = 0) -> Maker:
    return lambda chance, _: f"{chance.uniform(low, high):.{places}f}"


def _subset(words: Sequence[str], least: int = 2, most: int = 12) -> Callable[[random.Random], Maker]:
    def styled(chance: random.Random) -> Maker:
        few = chance.sample(list(words), min(len(words), chance.randrange(least, most)))
        return lambda inner, _: inner.choice(few)

    return styled


def _stdnum(name: str) -> Maker:
    """Faker's national number of a country, whose check digits are right."""
    return _of_locale("ssn", name)


def _of_locale(kind: str, locale: str) -> Maker:
    return lambda chance, _: chance.choice(_pool(kind, locale))


MAKERS: dict[str, Callable[[random.Random], Maker]] = {
    "person_name": _one_of(_of("name"), lambda c, x: f"{c.choice(_pool('last_name', x))}, {c.choice(_pool('first_name', x))}"),
    "given_name": _one_of(_of("first_name")),
    "family_name": _one_of(_of("last_name")),
    "email": _one_of(_of("email"), _of("company_email")),
    "phone": _one_of(_of("phone_number"), _masked("###-###-####"), _masked("(###) ###-####"), _nanp,  _masked("+49 15# ########")),
    "street_address": _one_of(_of("street_address"), _of("address")),
    "city": _one_of(_of("city")),
    "postal_code": _one_of(_of("postcode")),
    "country": _one_of(_of("country"), _listed("country_codes")),
    "jurisdiction": _one_of(_words("DE-BY", "DE-BE", "US-CA", "US-NY", "ES-MD", "FR-IDF"), _words("Bayern", "Hessen", "Berlin", "Sachsen", "Hamburg"),
        _words("Ontario", "Quebec", "Alberta", "Manitoba"), _words("Cataluña", "Andalucía", "Madrid", "Galicia"), _words("Antioquia", "Boyacá", "Cauca", "Huila")),
    US_STATE: _one_of(_of_locale("state_abbr", "en_US"), _of_locale("state", "en_US")),
    "date_of_birth": _day(1930, 2015, _DAYS[:7]),
    "date": _day(2010, 2026, _DAYS),
    "age": _one_of(_number(0, 99), _number(18, 65)),
    "ssn": _one_of(_of_locale("ssn", "en_US"), _masked("XXX-XX-####"), lambda c, _: c.choice(_pool("ssn", "en_US")).replace("-", "")),
    "national_id": _one_of(*(_stdnum(x) for x in ("es_ES", "fr_FR", "it_IT", "pl_PL", "nl_NL", "en_GB", "sv_SE", "pt_BR", "de_DE")), _masked("#########"), _masked("########?")),
    "passport": _one_of(_masked("?########"), _masked("??#######"), _masked("#########"), _masked("C********")),
    "driver_license": _one_of(_masked("?#######"), _masked("?############"), _masked("########"), _masked("?????######??#??")),
    "medical_record_number": _one_of(_masked("MRN-########"), _masked("########"), _masked("MRN######"), _masked("P######"), _masked("##-##-##")),
    "health_plan_id": _one_of(_masked("#?*#-?*#-??##"), _masked("???#########"), _masked("##########A"), _masked("?#########"), _masked("W#########")),
    "account_number": _one_of(_masked("##########"), _masked("############"), _masked("ACC-########"), _masked("#########")),
    "npi": lambda _: _npi,
    "iban": _one_of(_of_locale("iban", "de_DE"), _of_locale("iban", "en_GB"), _of_locale("iban", "fr_FR")),
    "credit_card": _one_of(_of_locale("credit_card_number", "en_US"), _masked("XXXX-XXXX-XXXX-####")),
    "ip_address": _one_of(_of_locale("ipv4", "en_US"), _of_locale("ipv6", "en_US")),
    "mac_address": _one_of(_of_locale("mac_address", "en_US")),
    "device_id": _one_of(_masked("35#############"), _masked("SN********"), lambda c, _: str(uuid.UUID(int=c.getrandbits(128))), _masked("**********")),
    "vehicle_id": _one_of(_of_locale("vin", "en_US"), _of_locale("license_plate", "en_US"), _of_locale("license_plate", "de_DE"), _of_locale("license_plate", "es_ES")),
    "url": _one_of(_of("url"), _of("uri"), lambda c, x: c.choice(_pool("domain_name", x))),
    "username": _one_of(_of("user_name"), lambda c, x: "@" + c.choice(_pool("user_name", x))),
    "customer_id": _one_of(_masked("C-######"), _masked("######"), _masked("CUST####"), _masked("U########"), lambda c, _: str(uuid.UUID(int=c.getrandbits(128)))),
    "gender": _one_of(_words("M", "F"), _words("male", "female"), _words("Male", "Female", "Other"), _words("m", "w", "d"), _words("hombre", "mujer"),
        _words("männlich", "weiblich"), _words("0", "1"), _words("H", "M"), _words("Female", "Male", "Non-binary", "Prefer not to say"), _words("homme", "femme")),
    "ethnicity": _subset(entries("ethnicities"), 3),
    "religion": _subset(entries("religions"), 3),
    "political_opinion": _subset(entries("political"), 2),
    "sexual_orientation": _subset(entries("orientations"), 2, 6),
    "trade_union": _one_of(_words("ver.di", "IG Metall", "GEW", "none"), _words("yes", "no"), _words("UNISON", "Unite", "GMB", "RMT"), _words("CGT", "CFDT", "FO"), _words("SEIU", "AFL-CIO", "Teamsters", "UAW")),
    "criminal_record": _one_of(_words("none", "theft", "burglary", "DUI"), _words("yes", "no"), _words("Y", "N"), _words("Felony", "Misdemeanor", "None"), _words("keine", "Diebstahl", "Betrug"),
        _words("ASSAULT 3RD DEGREE", "THEFT BY UNLAWFUL TAKING", "POSSESSION OF MARIJUANA", "DISORDERLY CONDUCT"), _words("18 USC 1341", "PC 459", "VC 23152(A)")),
    "health_condition": lambda c: c.choice((_listed("conditions"), _masked("?##.#"), _masked("?##"), _subset(entries("conditions"), 4)(c),
        _words("Positive", "Negative"), _words("A+", "O-", "B+", "AB+", "O+"), _words("73211009", "38341003", "195967001", "22298006", "44054006", "13645005"))),
    "medication": lambda c: c.choice((_listed("medications"), lambda i, _: f"{i.choice(entries('medications'))} {i.choice((5, 10, 20, 250, 500))} mg", _masked("#####-####-##"))),
    "genetic": _one_of(lambda c, _: "".join(c.choice("ACGT") for _ in range(40)), _masked("rs########"), _words("BRCA1 c.68_69delAG", "BRCA2 c.5946delT", "TP53 p.R175H", "negative"), _words("A/G", "G/G", "A/A", "C/T")),
    "biometric": _one_of(_base64(60), _base64(200), lambda c, _: c.randbytes(24).hex()),
    "photo": _one_of(lambda c, _: f"photos/{_digits(c, 6)}.jpg", lambda c, _: f"https://cdn.example.org/p/{_digits(c, 8)}.png", _base64(90)),
    "geo_coordinates": _one_of(_number(-60, 60, 6), _number(24, 49, 5), _number(-125, -66, 5), lambda c, _: f"{c.uniform(-60, 60):.5f}, {c.uniform(-170, 170):.5f}", lambda c, _: f"POINT ({c.uniform(-170, 170):.6f} {c.uniform(-60, 60):.6f})"),
    "secret": _one_of(_of_locale("password", "en_US"), _base64(24), lambda c, _: "$2b$12$" + _base64(39)(c, "")[:53], lambda c, _: c.randbytes(32).hex(), lambda c, _: "sk-" + _masked("*" * 32)(c, "")),
    "free_text": _one_of(_note, _sentence, _note),
    "organization": _one_of(_of("company")),
    "job_title": _one_of(_of("job")),
    "language": _one_of(_words("en", "de", "fr", "es"), _words("English", "German", "Spanish", "French"), _words("ENG", "SPA", "CHI", "RUS"), _words("Deutsch", "Englisch", "Türkisch"), _words("en-US", "de-DE", "fr-FR")),
}  # fmt: skip

_UNNAMED = {
    "passport", "driver_license", "account_number", "device_id", "customer_id", "trade_union", "photo", "biometric",
    "date_of_birth", "age", "username", "health_plan_id", "medical_record_number", "jurisdiction", "gender", "secret", "national_id", "genetic",
    "criminal_record",
}  # fmt: skip
"""Classifications whose made-up values alone do not tell: without a header their columns teach nothing."""

EXTRA_NAMES: dict[str, tuple[str, ...]] = {
    "organization": ("company", "company name", "organization", "employer", "business name", "firma", "empresa", "entreprise", "organization", "vendor name", "legal entity"),
    "job_title": ("job title", "title", "position", "position title", "occupation", "profession", "beruf", "puesto", "cargo", "profesion", "metier", "role"),
    "language": ("language", "preferred language", "lang", "sprache", "idioma", "langue", "primary language", "language code"),
    US_STATE: ("state", "st", "state code", "state name", "mailing state", "license state"),
}  # fmt: skip

_VERSIONS = (
    "version",
    "app version",
    "firmware",
    "release",
    "build",
    "software version",
    "os version",
    "revision",
    "section",
    "chapter",
)
"""Versions of four numbers are addresses but for their headers."""

HARMLESS_COLUMNS: tuple[tuple[tuple[str, ...], Callable[[random.Random], Maker]], ...] = (
    (("id", "row id", "objectid", "order id", "ticket number", "reference", "key", "record no", "invoice number", "transaction id", "case number", "belegnummer", "numero factura", "lot", "request id", "batch number", "asset id", "claim number", "po number", "encounter id", "visit number"),
     _one_of(_masked("######"), _masked("#########"), _masked("INV-######"), _masked("??-####"), _masked("##########"), lambda c, _: str(uuid.UUID(int=c.getrandbits(128))), _masked("ENC-#########"), lambda c, _: c.randbytes(8).hex())),
    (("amount", "total", "price", "balance", "salary", "revenue", "betrag", "importe", "montant", "cost", "charges", "tax amount", "weight", "height", "bmi", "temperature", "score", "duration", "quantity", "length of stay"),
     _one_of(_number(0, 10_000, 2), _number(0, 100, 1), _number(0, 500), _number(-50, 50, 3), lambda c, _: f"${c.uniform(1, 9000):,.2f}")),
    (("status", "estado", "state of order", "order status", "priority", "stufe", "severity", "category", "type", "kategorie", "segment", "plan", "tier", "class", "result", "outcome", "channel", "source", "phase"),
     _one_of(_words("open", "closed", "pending"), _words("A", "B", "C"), _words("gold", "silver", "bronze"), _words("High", "Medium", "Low"), _words("active", "inactive"), _words("email", "phone", "chat"), _words("1", "2", "3", "4"), _words("web", "store", "app"))),
    (("active", "is verified", "opt in", "email verified", "consent given", "has insurance", "newsletter", "phone verified", "flag", "aktiv", "deleted"),
     _one_of(_words("Y", "N"), _words("true", "false"), _words("0", "1"), _words("yes", "no"))),
    (("product", "product name", "item", "sku", "brand", "artikel", "producto", "model", "description short", "color", "size"),
     _one_of(lambda c, x: " ".join(c.choice(_pool("word", x)) for _ in range(2)).title(), _masked("??###-#"), _of("color_name"), lambda c, x: c.choice(_pool("word", x)))),
    (("department", "division", "abteilung", "ward", "unit", "specialty", "topic", "course", "subject", "industry", "program", "servicio", "fachbereich"),
     _one_of(_words("Cardiology", "Oncology", "Emergency", "Radiology"), _words("Sales", "Marketing", "IT", "Human Resources"), _words("Billing", "Returns", "Delivery"), _words("Vertrieb", "Einkauf", "Produktion"))),
    (("year", "fiscal year", "jahr", "quarter", "month", "week", "weekday", "model year", "ano", "period", "vintage"),
     _one_of(_number(1990, 2026), _words("Q1", "Q2", "Q3", "Q4"), _words("January", "February", "March"), _words("Mon", "Tue", "Wed"), _number(1, 12), lambda c, _: f"FY{c.randrange(10, 27)}")),
    (("currency", "unit of measure", "code", "iata", "hs code", "naics", "version", "mime type", "extension", "file", "path", "checksum", "hash", "branch"),
     _one_of(_words("USD", "EUR", "GBP"), _words("kg", "g", "ml"), _masked("??#"), _masked("####.##"), lambda c, _: f"{c.randrange(9)}.{c.randrange(20)}.{c.randrange(99)}", lambda c, x: c.choice(_pool("file_name", x)), lambda c, _: c.randbytes(20).hex())),
    (("gtin", "ean", "upc", "barcode", "isbn", "product code", "article number", "sku", "tracking number", "meter id", "parcel id", "policy code", "account ref"),
     _one_of(_masked("0#############"), _masked("############"), _masked("978##########"), _masked("7######"), _masked("#####"), _masked("2########"), _masked("##########"), _masked("3##########"))),
    (_VERSIONS,
     _one_of(lambda c, _: f"{c.randrange(1, 9)}.{c.randrange(20)}.{c.randrange(10)}.{c.randrange(10)}", lambda c, _: f"v{c.randrange(9)}.{c.randrange(20)}", lambda c, _: f"{c.randrange(9)}.{c.randrange(20)}.{c.randrange(99)}-rc{c.randrange(4)}")),
    (("phone type", "email domain", "zip type", "name type", "address type", "card type", "age group", "id type", "gender count", "patients total", "mean age", "city population", "account type", "country rank", "date format", "note count", "diagnosis count"),
     _one_of(_words("home", "work", "mobile"), _words("Visa", "Mastercard"), _words("0-17", "18-64", "65+"), _number(0, 1000), _number(0, 100, 2), _words("checking", "savings"))),
)  # fmt: skip

_BEFORE = (
    "pt",
    "cust",
    "emp",
    "usr",
    "src",
    "primary",
    "contact",
    "member",
    "client",
    "billing",
    "home",
    "x",
    "tbl",
    "raw",
    "owner",
    "applicant",
)
_AFTER = ("1", "2", "txt", "val", "cd", "field", "new", "id", "nbr", "raw", "str")


def _shortened(word: str, chance: random.Random) -> str:
    if len(word) < 5:
        return word
    kind = chance.randrange(3)
    if kind == 0:
        return word[0] + "".join(c for c in word[1:] if c not in "aeiou")
    return word[: chance.choice((3, 4, 5))] if kind == 1 else word


def messy(phrase: str, chance: random.Random, rough: float = 0.35) -> str:
    """A header as people write it: one case or another, joined, shortened, with something before or after."""
    words = phrase.split()
    if chance.random() < rough:
        kind = chance.randrange(4)
        if kind == 0:
            words = [_shortened(word, chance) for word in words]
        elif kind == 1:
            words = [chance.choice(_BEFORE), *words]
        elif kind == 2:
            words = [*words, chance.choice(_AFTER)]
        elif len(words[-1]) > 4:
            spot = chance.randrange(1, len(words[-1]) - 1)
            words = [*words[:-1], words[-1][:spot] + words[-1][spot + 1 :]]
    style = chance.randrange(7)
    if style == 0:
        return "".join(words)
    if style == 1:
        return words[0] + "".join(w.capitalize() for w in words[1:])
    if style == 2:
        return " ".join(w.capitalize() for w in words)
    if style == 3:
        return "_".join(words).upper()
    if style == 4:
        return " ".join(words)
    return "_".join(words)


@cache
def _phrases() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for detector in column_registry().detectors:
        found.setdefault(name_of(detector), []).extend(
            (*detector.decisive, *detector.decisive, *detector.supporting)
        )
    for name, phrases in EXTRA_NAMES.items():
        found.setdefault(name, []).extend(phrases)
    return {name: tuple(phrases) for name, phrases in found.items()}


def _column(chance: random.Random, rows: int, locale: str, sensitive: Sequence[str]) -> SyntheticColumn:
    empty = chance.choice((0.0, 0.0, 0.02, 0.3))
    if sensitive:
        classification = chance.choice(sensitive)
        maker = MAKERS[classification](chance)
        supporting_only = classification not in _phrases()
        phrase = (
            classification.replace("_", " ") if supporting_only else chance.choice(_phrases()[classification])
        )
    else:
        classification = "none"
        phrases, makers = chance.choice(HARMLESS_COLUMNS)
        maker, phrase = makers(chance), chance.choice(phrases)
    nameless = chance.random() < 0.12 and classification not in _UNNAMED and phrase not in _VERSIONS
    name = (
        chance.choice(("c{}", "column{}", "field_{}", "V{}", "{}")).format(chance.randrange(40))
        if nameless
        else messy(phrase, chance)
    )
    values: Any = tuple(None if chance.random() < empty else maker(chance, locale) for _ in range(rows))
    return SyntheticColumn(name, values, classification)


def tables(number: int, seed: int, labels: Sequence[str] | None = None) -> list[list[SyntheticColumn]]:
    """So many tables of 3 to 14 columns and 12 to 120 rows; about half of the columns are harmless."""
    chance = random.Random(seed)
    made = []
    names = list(labels if labels is not None else MAKERS)
    for _ in range(number):
        locale, rows = chance.choice(LOCALES), chance.choice((12, 30, 60, 120))
        made.append(
            [
                _column(chance, rows, locale, names if chance.random() < 0.55 else ())
                for _ in range(chance.randrange(3, 15))
            ]
        )
    return made
