"""Ports and folders of a data directory."""

import pytest

from procurator.deploy.embedded.layout import Ports
from procurator.errors import UserError


def test_the_offset_moves_every_port() -> None:
    assert Ports().shifted(1000) == Ports(kafka=10092, registry=9081, clickhouse=9123, api=9080)
    assert Ports().shifted(0) == Ports()


@pytest.mark.parametrize("offset", [60_000, -9_000])
def test_an_offset_out_of_range_is_refused(offset: int) -> None:
    with pytest.raises(UserError, match=rf"^--port-offset {offset} puts the port of \w+ outside 1–65535$"):
        Ports().shifted(offset)


def test_two_components_cannot_share_a_port() -> None:
    with pytest.raises(UserError, match="^registry and api cannot share port 8080; set PROCURATOR_REGISTRY_PORT$"):
        Ports(registry=8080).require_free(frozenset({"registry", "api"}))
