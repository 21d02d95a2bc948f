"""View models: rows in, what a template shows out. Pure."""
