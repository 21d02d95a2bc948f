"""The SDK, the importers and the fleet simulator."""
