"""Addresses that nothing is sent to: an answer without a status, whatever is wrong with them. No socket is opened."""

import asyncio
import ssl
import threading
from typing import Any

import pytest

from procurator.forwarder.sender import Answer, Resolver, Sender, SendPolicy
from procurator.webhooks.addresses import AddressPolicy


async def _answer(url: str) -> Answer:
    resolver = Resolver()
    sender = Sender(url, AddressPolicy(), resolver.of("acme"), ssl.create_default_context(), SendPolicy())
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


async def test_name_servers_that_hang_hold_up_nobody_but_who_asks_them() -> None:
    answered = threading.Event()

    def look_up(host: str, _port: int, **_: Any) -> list[tuple[Any, ...]]:
        assert host == "quick.example" or answered.wait(60)
        return [(0, 0, 0, "", ("192.0.2.1", 443))]

    resolver = Resolver(look_up)
    of_one = [asyncio.create_task(resolver.of("one")(f"{number}.slow.example", 443)) for number in range(200)]
    await asyncio.sleep(0)
    for task in of_one[:100]:
        task.cancel()  # as the deadline of a delivery does; the thread goes on
    assert await asyncio.wait_for(resolver.of("other")("quick.example", 443), 30) == ["192.0.2.1"]
    answered.set()
    assert await asyncio.gather(*of_one[100:]) == [["192.0.2.1"]] * 100
    resolver.close()
