"""Openings that permit nothing: consents of children alone, defective authorizations.

Such a record is kept, so that the ledger shows what was received; it has a ``defect`` and never counts.
A person's date of birth and country are read here and not stored.
"""

from __future__ import annotations

from types import MappingProxyType

import pyarrow as pa

from governance.consent.actions import Action
from governance.consent.duck import relations

GUARDIAN = "guardian"
GIVEN_BY = ("subject", GUARDIAN)

DEFECTS = ("incomplete", "compound", "conditioned", "false_information", "not_freely_given", "not_informed")
"""What a file may say of a record: 45 CFR 164.508(b)(2)(ii), (iv) with (b)(3) and (b)(4), and (v); for a
consent GDPR Art. 7(2), 7(4), 4(11)."""

MINOR = "minor"
NO_EXPIRY = "no_expiry"
NO_AUTHORITY = "no_authority"

AGE_OF_CONSENT = MappingProxyType(
    {
        **dict.fromkeys(("BE", "EE", "FI", "LV", "MT", "PT", "SE", "IS", "NO", "GB"), 13),
        **dict.fromkeys(("AT", "BG", "CY", "ES", "IT", "LT"), 14),
        **dict.fromkeys(("CZ", "DK", "FR", "GR", "SI"), 15),
        **dict.fromkeys(("DE", "HR", "HU", "IE", "LI", "LU", "NL", "PL", "RO", "SK"), 16),
    }
)
"""Below it a child's consent to an information society service needs the holder of parental responsibility:
GDPR Art. 8(1), by member state, EEA state and the United Kingdom, as of 2024."""

DEFAULT_AGE_OF_CONSENT = 16
"""GDPR Art. 8(1), where the state set no other age or is not known."""

AGE_OF_MAJORITY = 18
"""Below it a personal representative authorises: 45 CFR 164.502(g)(3), state law aside."""


def with_defects(table: pa.Table) -> pa.Table:
    """The file's rows with ``defect`` as it counts, without the columns that are only read for it.

    The defect a file states goes first. A consent is a ``minor``'s if its subject, by ``birth_date``, was
    below the age of ``country`` when it was collected and no guardian gave it. Withdrawals of minors count:
    they only forbid. In a file that tells of expiry events, an authorization needs ``valid_to`` or an
    ``expiry_event`` (164.508(c)(1)(v)); one that a guardian gave needs ``authority``, the description of it
    (164.508(c)(1)(vi)).
    """
    ages = ", ".join(f"('{country}', {age})" for country, age in AGE_OF_CONSENT.items())
    sql = f"""
        WITH ages(country, age) AS (VALUES {ages})
        SELECT CASE
            WHEN defect IS NOT NULL THEN defect
            WHEN action NOT IN ('{Action.GRANT}', '{Action.AUTHORIZE}') THEN NULL
            WHEN (given_by IS NULL OR given_by <> '{GUARDIAN}') AND collected_at < birth_date
                + to_years(CASE action WHEN '{Action.AUTHORIZE}' THEN {AGE_OF_MAJORITY}
                           ELSE coalesce(age, {DEFAULT_AGE_OF_CONSENT}) END) THEN '{MINOR}'
            WHEN action = '{Action.AUTHORIZE}' AND valid_to IS NULL AND expiry_event IS NULL
                AND (SELECT count(expiry_event) FROM file) > 0 THEN '{NO_EXPIRY}'
            WHEN action = '{Action.AUTHORIZE}' AND given_by = '{GUARDIAN}' AND authority IS NULL
                THEN '{NO_AUTHORITY}'
            END AS defect
        FROM file LEFT JOIN ages USING (country) ORDER BY "row"
    """
    judged = ("defect", "given_by", "action", "collected_at", "valid_to", "country", "birth_date",
              "expiry_event", "authority", "row")  # fmt: skip
    telling = ("defect", "birth_date", "expiry_event", "given_by")
    if any(table[name].null_count < table.num_rows for name in telling):
        with relations({"file": table.select(judged)}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            defect = connection.sql(sql).to_arrow_table()["defect"].cast(pa.string())
    else:
        defect = pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    table = table.set_column(table.column_names.index("defect"), "defect", defect)
    return table.drop_columns(["birth_date", "country", "expiry_event", "authority"])
