"""What the reports under HIPAA quote of the minimum necessary: data, because the law moves."""

from __future__ import annotations

from types import MappingProxyType

EXEMPTIONS = MappingProxyType(
    {
        "treatment": ("164.502(b)(2)(i)", "to, or asked for by, a health care provider for treatment"),
        "individual": ("164.502(b)(2)(ii)", "to the individual"),
        "authorization": ("164.502(b)(2)(iii)", "pursuant to an authorization"),
        "secretary": ("164.502(b)(2)(iv)", "to the Secretary of Health and Human Services"),
        "required_by_law": ("164.502(b)(2)(v)", "required by law, as 164.512(a) describes it"),
        "compliance": ("164.502(b)(2)(vi)", "required for compliance with 45 CFR Parts 160 and 164"),
    }
)
"""When the minimum necessary does not apply, by the policy's word: provision of 45 CFR and its words."""

GROUNDS = MappingProxyType({"treatment": "treatment", "authorization": "authorization"})
"""The ground of a purpose that an exemption needs to be borne out; the others rest on what the policy says."""
