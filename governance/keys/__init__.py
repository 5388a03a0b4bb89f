"""Keys and the subject vault: what encrypts, signs and names, and how each of it can be destroyed.

``provider`` finds the KEK, ``store`` keeps every other key wrapped, ``vault`` gives subjects their
random pseudonyms, ``cmac`` computes keyed tags over Arrow arrays. Import from the module that is used.
"""
