"""The forwarder: delivers ledger entries to the endpoints of webhooks (docs/webhooks.md). ``procurator forward``."""
