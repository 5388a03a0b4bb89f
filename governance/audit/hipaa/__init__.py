"""Reports under HIPAA: 45 CFR 164.312(b), 164.502(b), 164.514 and 164.528."""
