"""Keys and the subject vault: what encrypts, signs and names, and how each of it can be destroyed.

``provider`` finds the KEK, in a file or by way of ``remote`` at a service; ``store`` keeps every other key
wrapped, and knows what was destroyed and how often keys sealed; ``vault`` gives subjects their random
pseudonyms, ``cmac`` computes keyed tags over Arrow arrays. Import from the module that is used.
"""
