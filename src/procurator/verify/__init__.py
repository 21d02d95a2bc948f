"""Verification: whether the ledger, or a piece of it, is what was signed. Needs public keys only.

Pure but for the modules that say IO. Nothing here trusts a typed column, a stored hash or the server's own word.
"""
