"""Ports and folders of a data directory."""

import pytest

from procurator.deploy.embedded.layout import Ports
from procurator.errors import UserError


def test_the_offset_moves_every_port() -> None:
    assert Ports().shifted(1000) == Ports(kafka=10092, registry=9081, clickhouse=9123, api=9080)
    assert Ports().shifted(0) == Ports()


@pytest.mark.parametrize(
    ("offset", "what"),
    [(60_000, "port 69092 (kafka)"), (-8_081, "port 0 (registry)")],
)
def test_an_offset_out_of_range_is_refused(offset: int, what: str) -> None:
    with pytest.raises(UserError) as caught:
        Ports().shifted(offset)
    assert str(caught.value).startswith(f"{what} is not in 1–65535; change --port-offset or PROCURATOR_")


def test_two_components_cannot_share_a_port() -> None:
    with pytest.raises(UserError, match="^registry and api cannot share port 8080; set PROCURATOR_REGISTRY_PORT$"):
        Ports(registry=8080).require_free(frozenset({"registry", "api"}))
