"""The breach assessment: GDPR Art. 33 and 34, 45 CFR 164.402."""
