"""The API keeps to its own description: Schemathesis makes requests from /openapi.json, good and bad ones.

None may be answered with a server's error, with a status or a type that the document does not name, or with a body
that is not of its schema. Streams have no end and are left out (see test_live.py).
"""

import time
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from procurator.config import Settings
from procurator.deploy.embedded.stack import Stack
from procurator.query_api.app import create_app
from procurator.query_api.auth import AdminKey

_CONFIG = {"phases": {"coverage": {"enabled": False}}, "generation": {"with-security-parameters": False}}
_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_EXAMPLES = 12
#: A neighbour may be away for a moment on a busy machine, and at first nothing is signed yet: 503 says so.
_AVAILABLE_S = 60.0


def _operations() -> list[Any]:
    document = create_app(Settings(), AdminKey("k")).openapi()
    schema: Any = schemathesis.openapi.from_dict(document, config=SchemathesisConfig.from_dict(_CONFIG))
    return [found.ok() for found in schema.exclude(path_regex=r"/stream$").get_all_operations()]


@pytest.mark.parametrize("operation", _operations(), ids=lambda operation: operation.label)
def test_no_request_is_answered_otherwise_than_described(stack: Stack, operation: Any) -> None:
    headers = {"Authorization": f"Bearer {stack.admin_key}"}

    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        until_s = time.monotonic() + _AVAILABLE_S
        while (answer := case.call(base_url=stack.api_url, headers=headers, timeout=60)).status_code == 503:
            assert time.monotonic() < until_s, answer.text
            time.sleep(0.5)
        case.validate_response(answer, checks=_CHECKS)

    ask()
