"""How the product is run: the embedded stack, compose, dashboards."""
