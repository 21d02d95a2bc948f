"""Retention: what goes when, what must stay, and removing it so that the ledger still verifies.

`policy`, `holds`, `leaves` and `totals` are pure; the others say that they do IO.
"""
