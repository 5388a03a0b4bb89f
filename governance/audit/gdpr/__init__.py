"""Reports under the GDPR: Art. 7, 15, 17, 30, 35 and 44 to 49."""
