"""What the API says of webhooks and what the forwarder does: their shapes and rules. Pure but for random bytes."""
