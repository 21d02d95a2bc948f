"""Proofs as the API shows them; every hash in base64, as docs/ledger.md has them."""

from pydantic import Field

from procurator.query_api.models.common import Model


class Inclusion(Model):
    """That one entry is among the signed ones."""

    log_id: str
    """The log that has it."""
    leaf_index: int
    """Its place in the log's tree."""
    offset: int
    """Its place in Kafka."""
    leaf_hash: str = Field(examples=["M+CxTfYqanXYE9x8XV9bKU7PSU9UdG7/70cJvOLADPg="])
    """Its leaf hash; whoever has the entry computes it."""
    size: int
    """Leaves of the log's tree in the epoch."""
    root: str
    """Root of the log's tree in the epoch."""
    proof: list[str]
    """RFC 9162 inclusion proof, from the leaf upwards."""
    checkpoint: str
    """The signed note over the control log, which has the epoch; a session's seal has the rest of the chain."""


class Consistency(Model):
    """That the ledger of one size continues that of another."""

    origin: str
    """Which ledger."""
    from_size: int
    """Entries of the control log in the older checkpoint."""
    to_size: int
    """Entries of the control log in the newer checkpoint."""
    proof: list[str]
    """RFC 9162 consistency proof."""
