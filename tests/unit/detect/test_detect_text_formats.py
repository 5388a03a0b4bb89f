"""Identifiers in the formats of many places, and what looks like them and is none."""

from __future__ import annotations

import phonenumbers
import pyarrow as pa
import pytest

from governance.detect import classify_text, redact
from governance.detect.text.engine import engine

REGIONS = [
    "US",
    "GB",
    "DE",
    "FR",
    "ES",
    "IT",
    "NL",
    "CH",
    "AT",
    "BE",
    "PL",
    "SE",
    "NO",
    "DK",
    "FI",
    "PT",
    "IE",
    "CA",
    "AU",
    "NZ",
    "IN",
    "BR",
    "MX",
    "JP",
    "ZA",
    "AR",
    "IL",
    "TR",
    "GR",
    "CZ",
]
SPANS = (
    ("mail JANE.DOE+test@Mail.Example.CO.UK now", "JANE.DOE+test@Mail.Example.CO.UK", "email"),
    ("<jane_doe@example.org>", "jane_doe@example.org", "email"),
    ("mailto:jane@example.org", "jane@example.org", "email"),
    ("jane@example.org,bob@example.com", "bob@example.com", "email"),
    ("reach o'brien@example.ie", "o'brien@example.ie", "email"),
    ("ssn: 536-22-8726", "536-22-8726", "ssn"),
    ("SSN 536 22 8726", "536 22 8726", "ssn"),
    ("social security number is 536228726", "536228726", "ssn"),
    ("(536-22-8726)", "536-22-8726", "ssn"),
    ("Social Security #: 536-22-8726", "536-22-8726", "ssn"),
    ("card 4111-1111-1111-1111", "4111-1111-1111-1111", "credit_card"),
    ("4111 1111 1111 1111", "4111 1111 1111 1111", "credit_card"),
    ("amex 3782 822463 10005", "3782 822463 10005", "credit_card"),
    ("5555555555554444,", "5555555555554444", "credit_card"),
    ("6011000990139424.", "6011000990139424", "credit_card"),
    ("cc#4012888888881881", "4012888888881881", "credit_card"),
    ("visa:4012888888881881", "4012888888881881", "credit_card"),
    ("IBAN: DE89370400440532013000", "DE89370400440532013000", "iban"),
    ("GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 32", "iban"),
    ("FR14 2004 1010 0505 0001 3M02 606", "FR14 2004 1010 0505 0001 3M02 606", "iban"),
    ("ES91 2100 0418 4502 0005 1332 bitte", "ES91 2100 0418 4502 0005 1332", "iban"),
    ("CH93 0076 2011 6238 5295 7", "CH93 0076 2011 6238 5295 7", "iban"),
    ("NL91ABNA0417164300", "NL91ABNA0417164300", "iban"),
    ("iban de89 3704 0044 0532 0130 00", "de89 3704 0044 0532 0130 00", "iban"),
    ("NO93 8601 1117 947", "NO93 8601 1117 947", "iban"),
    ("MT84 MALT 0110 0001 2345 MTLC AST0 01S", "MT84 MALT 0110 0001 2345 MTLC AST0 01S", "iban"),
    ("from 192.168.10.44 yesterday", "192.168.10.44", "ip_address"),
    ("ip=10.0.0.1;", "10.0.0.1", "ip_address"),
    ("http 8.8.8.8:443 open", "8.8.8.8", "ip_address"),
    ("10.0.0.0/8", "10.0.0.0", "ip_address"),
    ("[2001:db8::1]", "2001:db8::1", "ip_address"),
    ("at fe80::1ff:fe23:4567:890a up", "fe80::1ff:fe23:4567:890a", "ip_address"),
    ("2001:0db8:85a3:0000:0000:8a2e:0370:7334", "2001:0db8:85a3:0000:0000:8a2e:0370:7334", "ip_address"),
    ("from ::ffff:192.0.2.128 ok", "::ffff:192.0.2.128", "ip_address"),
    ("2001:db8:1::/48", "2001:db8:1::", "ip_address"),
    ("::1 is home", "::1", "ip_address"),
    ("MRN 12345678", "12345678", "medical_record_number"),
    ("MRN#: 00-12-34-56", "00-12-34-56", "medical_record_number"),
    ("Medical Record Number: A1234567", "A1234567", "medical_record_number"),
    ("medical record no. 778899", "778899", "medical_record_number"),
    ("(MRN: 4455667)", "4455667", "medical_record_number"),
    ("Patient ID: P-102938", "P-102938", "medical_record_number"),
    ("Chart #554433", "554433", "medical_record_number"),
    ("Patientennummer: 99881234", "99881234", "medical_record_number"),
    ("Fallnummer 2023-445566", "2023-445566", "medical_record_number"),
    ("Numéro de dossier : 554433", "554433", "medical_record_number"),
    ("NHC: 2569870", "2569870", "medical_record_number"),
    ("Historia clínica nº 445566", "445566", "medical_record_number"),
    ("MRN is 88441122", "88441122", "medical_record_number"),
    ("hospital no: K1234567", "K1234567", "medical_record_number"),
    ("Unit No: 1234567", "1234567", "medical_record_number"),
    ("IPP : 8001234567", "8001234567", "medical_record_number"),
    ("NPI 1234567893", "1234567893", "npi"),
    ("NPI: 1245319599", "1245319599", "npi"),
    ("NPI# 1245319599", "1245319599", "npi"),
    ("provider 1245319599 signed", "1245319599", "npi"),
    ("National Provider Identifier 1245319599", "1245319599", "npi"),
    ("see https://example.org/a?b=c#d.", "https://example.org/a?b=c#d", "url"),
    ("(www.example.org/x)", "www.example.org/x", "url"),
    ("HTTP://EXAMPLE.ORG/", "HTTP://EXAMPLE.ORG/", "url"),
    ("visit example.com today", "example.com", "url"),
    ("ftp://files.example.net/a.txt", "ftp://files.example.net/a.txt", "url"),
    ("I'm 92 years old", "92", "age"),
    ("aged 97", "97", "age"),
    ("a 101-year-old man", "101", "age"),
    ("93yo F", "93", "age"),
    ("die 95-jährige Patientin", "95", "age"),
    ("âgée de 91 ans", "91", "age"),
    ("mujer de 94 años", "94", "age"),
    ("92 y/o male", "92", "age"),
    ("91 y.o. male", "91", "age"),
    ("on January 5, 2021", "January 5, 2021", "date"),
    ("5th of March 2020", "5th of March 2020", "date"),
    ("am 3. Oktober 1990", "3. Oktober 1990", "date"),
    ("le 1er janvier 2019", "1er janvier 2019", "date"),
    ("el 24 de diciembre de 2018", "24 de diciembre de 2018", "date"),
    ("12-Mar-2021", "12-Mar-2021", "date"),
    ("2021/03/12", "2021/03/12", "date"),
    ("03.04.1975", "03.04.1975", "date"),
    ("31-12-2019", "31-12-2019", "date"),
    ("Sept. 4, 2012", "Sept. 4, 2012", "date"),
    ("seen on 4/5/21", "4/5/21", "date"),
    ("lives at 1600 Pennsylvania Avenue NW", "1600 Pennsylvania Avenue NW", "street_address"),
    ("I live at 221B Baker Street", "221B Baker Street", "street_address"),
    ("wohnt in der Musterstraße 12", "Musterstraße 12", "street_address"),
    ("12 rue de la Paix", "12 rue de la Paix", "street_address"),
    ("Calle Mayor 5", "Calle Mayor 5", "street_address"),
    ("PO Box 1234", "PO Box 1234", "street_address"),
    ("350 5th Avenue", "350 5th Avenue", "street_address"),
    ("10 Downing St", "10 Downing St", "street_address"),
    ("NHS number 943 476 5919", "943 476 5919", "national_id"),
    ("passport no. X1234567", "X1234567", "passport"),
    ("VIN 1M8GDM9AXKP042788", "1M8GDM9AXKP042788", "vehicle_id"),
    ("mac 00:1B:44:11:3A:B7", "00:1B:44:11:3A:B7", "mac_address"),
    ("CPF 529.982.247-25", "529.982.247-25", "national_id"),
    ("Aadhaar 2341 2341 2346", "2341 2341 2346", "national_id"),
    ("NI number AB123456C", "AB123456C", "national_id"),
    ("MBI 1EG4-TE5-MK73", "1EG4-TE5-MK73", "health_plan_id"),
    ("Policy number: HP-2239102", "HP-2239102", "health_plan_id"),
    ("MRN# 483-921-7", "483-921-7", "medical_record_number"),
    ("Med Rec No. 8839201", "8839201", "medical_record_number"),
    ("Unit No: 4482910", "4482910", "medical_record_number"),
    ("Hospital number: RX228391", "RX228391", "medical_record_number"),
    ("Patientennummer 4711233", "4711233", "medical_record_number"),
    ("NHC: 2748903", "2748903", "medical_record_number"),
    ("National Provider Identifier 1245319599", "1245319599", "npi"),
    ("Attending: Dr. Sarah Connor, MD (NPI 1245319599)", "Sarah Connor", "person_name"),
    ("lives at Calle Mayor 5, 28013 Madrid", "Calle Mayor 5, 28013 Madrid", "street_address"),
    ("Directed by Sari J. Paavolainen", "Sari J. Paavolainen", "person_name"),
    ("my number is 4155550134", "4155550134", "phone"),
    ("office (02) 9374 4000 in Sydney", "(02) 9374 4000", "phone"),
    ("Meds: metformin 1000 mg", "metformin", "medication"),
)
HARMLESS = (
    "order number 4111",
    "Order #12345-678 shipped",
    "version 1.2.3.4.5",
    "v10.20.30",
    "commit 16c7e42f292c6912e7710c838347ae178b4a1f2e",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "price $1,234.56",
    "EUR 1.234.567,89",
    "ISBN 978-3-16-148410-0",
    "ISBN-10 0-306-40615-2",
    "at 10:30:45",
    "2h 30min",
    "call me at 5",
    "blood pressure 120/80",
    "HbA1c 7.2%",
    "K+ 4.2, Na 138",
    "section 164.514",
    "3 x 500 mg",
    "ratio 1:2:3",
    "room 101",
    "ICD-10 E11.9",
    "flight LH 1234",
    "score 3-2",
    "pages 100-200",
    "$4,111,111",
    "1,000,000 rows",
    "RFC 9110",
    "ISO 27001",
    "COVID-19",
    "ext. 4",
    "bp 118/76 hr 72",
    "2.5 mg/dl",
    "10^6",
    "6.022e23",
    "0x7fffffff",
    "port 8080",
    "GPT-4",
    "chapter 12:34",
    "4111 1111 1111 1112",
    "the 90s",
    "90 minutes",
    "95 percent",
    "9 years of data",
    "on page 2001",
    "tracking 1Z999AA10123456784",
    "EAN 4006381333931",
    "timestamp 1700000000",
    "epoch 1700000000000",
    "UUID 550e8400-e29b-41d4-a716-446655440000",
    "a::b",
    "std::vector<int>",
    "C::1",
    "12.5.",
    "May I ask",
    "Will you",
    "April showers",
    "Hello world",
    "uuid 00491728-e29b-41d4-a716-446655440000",
    "on time at 5:30",
    "at java.util.concurrent.ThreadPoolExecutor line 12",
    "ratio 3.14159265358979",
    "Windows Server 2019 Standard",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
)


def _found(text: str) -> set[tuple[str, str]]:
    return {(text[f.start : f.end], f.classification) for f in classify_text([text])[0]}


@pytest.mark.parametrize(("text", "span", "classification"), SPANS)
def test_formats(text: str, span: str, classification: str) -> None:
    assert (span, classification) in _found(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_one(text: str) -> None:
    assert {kind for _, kind in _found(text)} <= {"url", "username"}


@pytest.mark.parametrize("region", REGIONS)
def test_phones_of_many_countries(region: str) -> None:
    kinds, forms = phonenumbers.PhoneNumberType, phonenumbers.PhoneNumberFormat
    for kind in (kinds.MOBILE, kinds.FIXED_LINE):
        number = phonenumbers.example_number_for_type(region, kind)
        if number is None:
            continue
        written = {form: phonenumbers.format_number(number, form) for form in (0, 1, 2)}
        for text, form in (
            ("Please ring {} after six.", forms.INTERNATIONAL),
            ("whatsapp {}", forms.E164),
            ("Her phone number is {}.", forms.NATIONAL),
            ("Tel.: {}, bitte", forms.NATIONAL),
        ):
            assert (written[form], "phone") in _found(text.format(written[form])), text


@pytest.mark.parametrize(
    "text",
    [
        "I will be at (202) 555-0143 tonight", "my number: 07911 123456", "je suis au 06 12 34 56 78", "soy el 612 34 56 78",
        "unter 0151 23456789 zu erreichen",
    ],
)  # fmt: skip
def test_phones_without_a_word_for_them(text: str) -> None:
    assert "phone" in {kind for _, kind in _found(text)}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Médico: Juan Pérez Gómez NºCol: 28 28 123", "Juan Pérez Gómez"),
        ("Dr. Anna Schmidt Klinikum", "Anna Schmidt"),
        ("Maria Lopez's chart", "Maria Lopez"),
        ("Directed by Zyx Q. Wnbh", "Zyx Q. Wnbh"),
    ],
)
def test_names_end_where_they_end(text: str, name: str) -> None:
    assert (name, "person_name") in _found(text)


def test_a_version_is_no_address_and_the_address_beside_it_is_one() -> None:
    texts = [
        "updated to version 2.10.3.1 yesterday",
        "version 2.10.3.1 on host 10.2.3.4, asked by anna@example.org",
        "§ 10.2.3.4 of the act",
        "host 10.2.3.4",
        "odd \x0e version 2.10.3.1",
        None,
    ]
    found = classify_text([text or "" for text in texts])
    assert [[f.classification for f in row] for row in found] == [
        [], ["ip_address", "email"], [], ["ip_address"], [], [],
    ]  # fmt: skip
    assert redact(pa.array(texts)).to_pylist() == [
        texts[0], "version 2.10.3.1 on host [IP], asked by [EMAIL]", texts[2], "host [IP]", "odd \x0e version [IP]", None,
    ]  # fmt: skip
    assert engine().contained(pa.array(texts)) == {"ip_address": 2, "email": 1}
