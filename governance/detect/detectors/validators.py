"""Named checks of single values: checksums, numbering plans, syntax and vocabulary.

Detectors name them in YAML. Each takes a stripped, non-empty string and answers whether the value
is one; none raises and none reads anything but its argument.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any

from governance.detect.detectors import dictionaries, vocabulary
from governance.detect.text.secrets import is_secret

Validator = Callable[[str], bool]

COMMON_REGIONS = ("US", "GB", "DE", "FR", "ES")
"""Numbering plans tried for a national phone number when no column says where its owner lives."""

_WORD = re.compile(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*\.?")
_NOT_ALNUM = re.compile(r"[^0-9A-Za-z]")
_NOT_A_PHONE = re.compile(
    rf"[0-9]{{3}}-[0-9]{{2}}-[0-9]{{4}}|[0-9]+(?:\.[0-9]+){{3}}|{vocabulary.NUMERIC_DATE}"
)
_DATE = re.compile(vocabulary.DATE, re.IGNORECASE)
_STREET = re.compile(vocabulary.STREET, re.IGNORECASE)
_STREET_NAME = re.compile(vocabulary.STREET_NAME, re.IGNORECASE)
_VIN_VALUES = dict(
    zip(
        "ABCDEFGHJKLMNPRSTUVWXYZ",
        (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9),
        strict=True,
    )
)
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


@cache
def _module(name: str) -> Any:
    return importlib.import_module(name)


def _stdnum(name: str, value: str) -> bool:
    return bool(_module(f"stdnum.{name}").is_valid(value))


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1 annex B check digit."""
    figures = digits.encode()
    doubled = figures[-2::-2].translate(_DOUBLED)
    return (sum(figures[-1::-2]) + sum(doubled) - 48 * len(figures)) % 10 == 0


def npi(value: str) -> bool:
    """National Provider Identifier: ten digits whose Luhn check includes the prefix 80840 (45 CFR 162.406)."""
    return len(value) == 10 and value.isdecimal() and value[0] in "12" and luhn("80840" + value)


def credit_card(value: str) -> bool:
    """A card number of a known issuer range with a right check digit."""
    digits = _NOT_ALNUM.sub("", value)
    if not (digits.isascii() and digits.isdecimal() and 12 <= len(digits) <= 19) or len(set(digits)) < 2:
        return False
    two, four = int(digits[:2]), int(digits[:4])
    known = (
        (digits[0] == "4" and len(digits) in (13, 16, 19))
        or ((51 <= two <= 55 or 2221 <= four <= 2720) and len(digits) == 16)
        or ((two in (34, 37) or four in (2131, 1800)) and len(digits) == 15)
        or (two in (30, 36, 38) and len(digits) == 14)
        or ((four == 6011 or two in (62, 64, 65) or two == 35) and 16 <= len(digits) <= 19)
        or (two in (50, 56, 57, 58, 60, 61, 63, 67, 69) and 12 <= len(digits) <= 19)
    )
    return known and luhn(digits)


def ssn(value: str) -> bool:
    """A Social Security number or ITIN that could have been issued."""
    digits = _NOT_ALNUM.sub("", value)
    return len(digits) == 9 and (_stdnum("us.ssn", digits) or _stdnum("us.itin", digits))


def email(value: str) -> bool:
    """Address syntax of RFC 5321/5322; no DNS."""
    module = _module("email_validator")
    try:
        module.validate_email(value, check_deliverability=False, test_environment=True)
    except module.EmailNotValidError:
        return False
    return True


def phone(value: str, regions: Sequence[str] = COMMON_REGIONS) -> bool:
    """Whether a numbering plan of ``regions`` (ISO 3166 codes) or the number's own country has such numbers."""
    if _NOT_A_PHONE.fullmatch(value):
        return False
    module = _module("phonenumbers")
    text = re.split(r"\s*[;,]\s*", value, maxsplit=1)[0]
    text = "+" + text[2:] if text.startswith("00") else text
    for region in (None,) if text.startswith("+") else regions:
        try:
            if module.is_possible_number(module.parse(text, region)):
                return True
        except module.NumberParseException:
            continue
    return False


def phone_digits(value: str) -> bool:
    """Seven to fifteen digits (E.164) and no date."""
    digits = sum(c.isdecimal() for c in value)
    if _NOT_A_PHONE.fullmatch(value):
        return False
    return 7 <= digits <= 25 and not date(value)


def nanp(value: str) -> bool:
    """A number of the North American Numbering Plan in digits alone, of an area that is assigned."""
    module, digits = _module("phonenumbers"), value.removesuffix(".0").lstrip("+")
    national = digits[1:] if len(digits) == 11 and digits[0] == "1" else digits
    if len(national) != 10 or not national.isdecimal():
        return False
    number = module.PhoneNumber(country_code=1, national_number=int(national))
    return bool(module.is_valid_number(number))


def vin(value: str) -> bool:
    """ISO 3779 vehicle identification number with the check digit of 49 CFR 565.15."""
    text = value.upper()
    if len(text) != 17 or len(set(text)) < 5:
        return False
    try:
        total = sum(
            w * (int(c) if c.isdecimal() else _VIN_VALUES[c]) for c, w in zip(text, _VIN_WEIGHTS, strict=True)
        )
    except (KeyError, ValueError):
        return False
    return text[8] == ("X" if total % 11 == 10 else str(total % 11))


def ip(value: str) -> bool:
    """An IPv4 or IPv6 address as :mod:`ipaddress` reads it, but no ``a::b``, which is a name of a program."""
    try:
        ip_address(value)
    except ValueError:
        return False
    digits = value.replace(":", "")
    return ":" not in value or value == "::1" or (len(digits) >= 4 and any(c.isdecimal() for c in digits))


def date(value: str) -> bool:
    """A calendar date, with or without a time, in the usual written forms of four languages."""
    return len(value) <= 64 and bool(_DATE.fullmatch(value))


def full_name(value: str) -> bool:
    """Two to five words with a given name of the dictionary in a given name's place."""
    if len(value) > 80 or any(c.isdecimal() or c in "@/&#" for c in value):
        return False
    last, comma, rest = value.partition(",")
    words = [w.strip(".") for w in _WORD.findall(f"{rest} {last}" if comma else value)]
    folds = [dictionaries.fold(w) for w in words]
    while folds and folds[0] in vocabulary.HONORIFICS:
        folds.pop(0)
    if not 2 <= len(folds) <= 5 or any(f in vocabulary.ORGANISATION_WORDS for f in folds):
        return False
    given = dictionaries.folded("given_names")
    family = dictionaries.folded("family_names")
    first_is_given = folds[0] in given or folds[0].split("-")[0] in given
    return first_is_given or (folds[0] in family and any(f in given for f in folds[1:]))


def greeted_name(value: str) -> bool:
    """Capitalised words after a greeting that are no form of address such as ``Customer`` or ``Team``."""
    return not any(dictionaries.fold(w) in vocabulary.NOT_GREETED for w in value.split())


def street_address(value: str) -> bool:
    """A street word with a number in the customs of English, German, French and Spanish; or a PO box."""
    found = _STREET.search(value) if len(value) <= 200 else None
    return found is not None and found.start() <= 40


def street(value: str) -> bool:
    """The name of a street with or without a number."""
    return len(value) <= 100 and bool(_STREET_NAME.search(value))


def snomed(value: str) -> bool:
    """SNOMED CT identifier of a concept: Verhoeff's check digit and partition 00 or 10."""
    if not (6 <= len(value) <= 18 and value.isascii() and value.isdecimal()) or value[0] == "0":
        return False
    return value[-3:-1] in ("00", "10") and bool(_module("stdnum.verhoeff").is_valid(value))


def _has_word(dictionary: str, suffixes: tuple[str, ...], value: str) -> bool:
    words = dictionaries.folded(dictionary)
    parts = re.split(r"[\s,;:()/]+", dictionaries.fold(value[:400]))
    return any(part in words or (len(part) > 6 and part.endswith(suffixes)) for part in parts)


def prose(value: str) -> bool:
    """Words in sentences rather than a name, a label or a list of codes."""
    words = value[:4000].split()
    letters = sum(c.isalpha() for c in value[:4000])
    if len(words) < 4:
        return letters > 60
    alphabetic = sum(any(c.isalpha() for c in word) for word in words)
    lower = sum(word[:1].islower() or not word[:1].isascii() for word in words)
    if alphabetic < 0.6 * len(words) or lower < 0.3 * len(words):
        return False
    return len(words) >= 8 or any(c in ".?!;:," for c in value)


_STDNUM = {
    "iban": "iban", "es_dni": "es.nif", "fr_nir": "fr.nir", "it_codicefiscale": "it.codicefiscale", "gb_nhs": "gb.nhs",
    "de_idnr": "de.idnr", "pl_pesel": "pl.pesel", "se_personnummer": "se.personnummer", "br_cpf": "br.cpf",
    "in_aadhaar": "in_.aadhaar", "mx_curp": "mx.curp", "ca_sin": "ca.sin", "nl_bsn": "nl.bsn",
}  # fmt: skip

_STDNUM_NAME = re.compile(r"stdnum\.([a-z_]+(?:\.[a-z_]+)?)")


@cache
def named(name: str) -> Validator:
    """The check a detector names: one of :data:`VALIDATORS`, or ``stdnum.be.nn`` for a module of python-stdnum.

    Raises ``KeyError`` for a name that is neither.
    """
    if name in VALIDATORS:
        return VALIDATORS[name]
    found = _STDNUM_NAME.fullmatch(name)
    try:
        if found is not None and callable(_module(name).is_valid):
            return partial(_stdnum, found.group(1))
    except (ImportError, AttributeError):
        pass
    raise KeyError(name)


VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {
        **{name: partial(_stdnum, module) for name, module in _STDNUM.items()},
        "npi": npi,
        "credit_card": credit_card,
        "ssn": ssn,
        "email": email,
        "phone": phone,
        "phone_digits": phone_digits,
        "nanp": nanp,
        "vin": vin,
        "ip_address": ip,
        "date": date,
        "full_name": full_name,
        "greeted_name": greeted_name,
        "street_address": street_address,
        "street": street,
        "snomed": snomed,
        "health_condition": partial(_has_word, "conditions", vocabulary.CONDITION_SUFFIXES),
        "medication": partial(_has_word, "medications", vocabulary.MEDICATION_SUFFIXES),
        "prose": prose,
        "secret": is_secret,
    }
)
