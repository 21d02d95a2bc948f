"""A transcript of our own, so that `procurator import` can be tried at once."""
