"""The API's own routes, asked in process: a page shows what they answer, under the same permissions and audit."""

from typing import Any

import orjson
from fastapi import Response


def answered(response: Response) -> Any:
    """Return the JSON that a route answered."""
    return orjson.loads(bytes(response.body))
