"""Where webhooks may go."""

import pytest

from procurator.errors import UserError
from procurator.webhooks.addresses import AddressPolicy, Target, parse_url, same_receiver

NOTHING_PRIVATE = AddressPolicy.of("")
SOME = AddressPolicy.of("10.1.0.0/16, fd00::/8")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://siem.example.com", Target(True, "siem.example.com", 443, "/")),
        ("https://SIEM.example.com:8443/a/b?c=d", Target(True, "siem.example.com", 8443, "/a/b?c=d")),
        ("http://[fd00::1]/x", Target(False, "fd00::1", 80, "/x")),
    ],
)
def test_a_url_in_its_parts(url: str, target: Target) -> None:
    assert parse_url(url) == target


@pytest.mark.parametrize(
    "url",
    [
        *("", "siem.example.com", "ftp://x/", "https://", "https:///path", "file:///etc/passwd", "https://x:99999/"),
        *("https://u@x/", "https://u:p@x/", "https://x/#part", "https://x/ y", "https://ex\nample/", "https://[::1"),
        *("https://bücher.example/", "https://x/" + "a" * 2_000),
    ],
)
def test_what_nothing_can_be_posted_to(url: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_url(url)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1"),
        *("192.0.2.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:7f00:1::"),
        *("64:ff9b:1::a9fe:a9fe", "fec0::1", "::10.0.0.1"),
    ],
)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert "is a private address" in (NOTHING_PRIVATE.refusal(address, True) or "")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_what_is_public_is_reached_with_tls_alone(address: str) -> None:
    assert NOTHING_PRIVATE.refusal(address, True) is None
    assert "use https" in (NOTHING_PRIVATE.refusal(address, False) or "")


def test_private_networks_where_they_are_allowed() -> None:
    for address in ("10.1.2.3", "fd12::1", "::ffff:10.1.2.3"):
        assert SOME.refusal(address, False) is None
    for address in ("10.2.0.1", "127.0.0.1", "fe80::1"):
        assert SOME.refusal(address, True)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("https://siem.example.com/other?x=1", True),
        ("https://siem.example.com:443/", True),
        ("https://siem.example.com:8443/hook", False),
        ("https://siem.example.org/hook", False),
    ],
)
def test_a_receiver_is_a_host_and_port(other: str, same: bool) -> None:
    assert same_receiver("https://siem.example.com/hook", other) is same


def test_what_is_no_network_is_an_error() -> None:
    with pytest.raises(ValueError, match="10.0.0.1/8"):
        AddressPolicy.of("10.0.0.1/8")
