"""What the API answers, as typed models with units: the source of /openapi.json."""
