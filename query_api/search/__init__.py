"""Which sessions: a filter as data, the language people write it in, and the SQL it becomes. Pure."""

from procurator.query_api.search.errors import SearchError
from procurator.query_api.search.filter import SessionFilter
from procurator.query_api.search.language import parse, render

__all__ = ["SearchError", "SessionFilter", "parse", "render"]
