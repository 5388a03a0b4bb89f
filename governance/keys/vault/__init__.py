"""The subject vault: pseudonyms and secrets in sealed pages, found by blind indexes."""
