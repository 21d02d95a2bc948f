"""Procurator Sessions: the immutable, tamper-evident audit ledger of every AI-agent interaction."""

__version__ = "0.1.0"
