"""Addresses that nothing is sent to: an answer without a status, whatever is wrong with them. No socket is opened."""

import ssl

import pytest

from procurator.forwarder.sender import Answer, Resolver, Sender, SendPolicy
from procurator.webhooks.addresses import AddressPolicy


async def _answer(url: str) -> Answer:
    resolver = Resolver()
    sender = Sender(url, AddressPolicy(), resolver, ssl.create_default_context(), SendPolicy())
    answer = await sender.post({}, b"")
    await sender.close()
    resolver.close()
    return answer


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example", "[::1%25x]"])
async def test_a_host_that_cannot_be_is_said_and_breaks_nothing(host: str) -> None:
    answer = await _answer(f"https://{host}/")
    assert answer.status is None
    assert answer.message


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "0.0.0.0", "2130706433", "0x7f.1"])
async def test_this_machine_in_any_spelling(host: str) -> None:
    assert "is a private address" in (await _answer(f"https://{host}/")).message
