"""What is wrong with a search: the field, why, and one that would do."""

from procurator.errors import UserError


class SearchError(UserError):
    """A filter that cannot be used. ``field`` is the query parameter at fault: ``q`` for the query language."""

    def __init__(self, field: str, message: str, example: str) -> None:
        super().__init__(f"{message}; for example {example}")
        self.field = field
        self.message = message
        self.example = example
