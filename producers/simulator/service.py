"""What agents that serve customers do all day: text that reads as their work does. Pure."""

from decimal import Decimal
from typing import Any

from procurator.producers.simulator.plan import Script

#: After so many searches even the watcher of fares gives up, should nobody stop it before.
SEARCHES = 60


def billing(s: Script, who: dict[str, Any]) -> None:
    """A customer was charged twice; a refund above the limit waits for a person."""
    rng = s.rng
    account, invoice = f"FB-{rng.randrange(10_000, 99_999)}", f"INV-{rng.randrange(50_000, 99_999)}"
    amount = Decimal(rng.randrange(1990, 28_990)) / 100
    plan = rng.choice(("Fibre 300", "Fibre 1000", "Business Line", "Mobile Family"))
    s.system(
        "You are the billing assistant of Fernhill Broadband. Look things up before you answer. Refunds above 100 USD"
        " need a colleague's approval. Keep answers short and friendly."
    )
    s.user(
        rng.choice(
            (
                f"Hi, my card was charged twice this month. Account {account}.",
                f"Why is there a second payment of {amount} on account {account}? I only have {plan}.",
                f"account {account} – double charge, please sort this out before Friday",
            )
        )
    )
    s.use(
        "list_invoices",
        {"account": account, "months": 2},
        [
            {"invoice": f"{invoice}-A", "item": plan, "amount_usd": str(amount), "status": "paid"},
            {"invoice": f"{invoice}-B", "item": plan, "amount_usd": str(amount), "status": "paid"},
        ],
        server="billing-core",
        thinking="Two payments are claimed. I should see both invoices before I believe either story.",
    )
    if rng.random() < 0.3:
        s.fail(
            "get_payment_log",
            {"account": account},
            "upstream answered 503: payment log is being rotated",
            server="billing-core",
            say="Both invoices are paid. Let me see where the second payment comes from.",
        )
    s.use(
        "get_payment_log",
        {"account": account},
        {
            "entries": [
                {"event": "payment_retry", "note": "gateway timeout, retried by dunning job", "invoice": invoice}
            ]
        },
        server="billing-core",
    )
    if amount > 100:
        denied = rng.random() < 0.15
        decider = f"user:{rng.choice(('maria.silva', 'tom.okafor', 'lena.brandt'))}"
        s.approve(
            f"Refund {amount} USD to {account} for a duplicate charge", "DENIED" if denied else "APPROVED", decider
        )
        if denied:
            s.answer(
                f"I found the duplicate, but a colleague wants to look at {invoice} first. You will hear from us within"
                " one working day."
            )
            return
    s.use(
        "refund_invoice",
        {"invoice": f"{invoice}-B", "amount_usd": str(amount), "reason": "duplicate charge"},
        {"refund": f"RF-{rng.randrange(1000, 9999)}", "expected_days": 5},
        server="billing-core",
        say="Our retry charged you again although the first payment had gone through. I am refunding it now.",
    )
    s.answer(f"Done. {amount} USD will be back on your card within five days; {invoice}-A stays your only charge.")
    s.user(rng.choice(("Great, thanks!", "Perfect, that was quick.", "ok thank you")))
    s.answer("You're welcome. Is there anything else I can do?")


def support(s: Script, who: dict[str, Any]) -> None:
    """A device is offline; diagnostics hang now and then."""
    rng = s.rng
    device = f"gw-{rng.randrange(16**6):06x}"
    s.system("You triage technical support tickets. Run diagnostics first, then propose one step at a time.")
    s.user(
        rng.choice(
            (
                f"Internet drops every evening around 20:00. Router {device}.",
                f"No connection since this morning, the box {device} blinks orange.",
                f"Wi-Fi is fine in the kitchen and dead upstairs ({device})",
            )
        )
    )
    if rng.random() < 0.25:
        s.hang("run_line_test", {"device": device}, 20, server="network-diag", say="I am testing your line.")
        s.answer("The line test did not come back in time, so I am looking at the device itself.")
    s.use(
        "read_device_log",
        {"device": device, "hours": 24},
        "\n".join(
            f"{rng.randrange(24):02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d} dsl: loss of sync, snr margin"
            f" {rng.uniform(1, 5):.1f} dB"
            for _ in range(rng.randrange(3, 9))
        ),
        server="network-diag",
        thinking="Losses of sync with a low margin point at the line or its filter rather than at Wi-Fi.",
    )
    s.answer(
        "Your router loses sync several times a day and the signal margin is low. Please plug it straight into the wall"
        " socket, without the splitter, and tell me what the light does."
    )
    s.user(rng.choice(("It's green now!", "Green, but slow.", "Still orange.")))
    if rng.random() < 0.4:
        s.use(
            "book_technician",
            {"device": device, "slot": f"{rng.choice(('Tue', 'Wed', 'Thu'))} {rng.choice(('08–12', '13–17'))}"},
            {"booking": f"T-{rng.randrange(10_000, 99_999)}"},
            server="field-service",
        )
    s.answer("Thank you. I have noted the result on your ticket and will watch the line until tomorrow evening.")


def travel(s: Script, who: dict[str, Any]) -> None:
    """A trip is changed within the company's policy."""
    rng = s.rng
    origin, goal = rng.sample(("VIE", "LHR", "AMS", "JFK", "SIN", "GRU", "NRT"), 2)
    fare = rng.randrange(180, 2400)
    s.system(
        "You are the travel desk. Policy: economy under six hours, approval above 1,500 USD, refundable fares only."
    )
    s.user(f"I need to be in {goal} from Tuesday to Thursday, leaving {origin} in the morning.")
    s.use(
        "search_flights",
        {"from": origin, "to": goal, "depart": "Tue", "return": "Thu", "refundable": True},
        [
            {"flight": f"{rng.choice(('OS', 'BA', 'KL', 'SQ'))}{rng.randrange(100, 999)}", "fare_usd": fare + 35 * n}
            for n in range(4)
        ],
        server="travel-gds",
        slow=6,
        thinking=f"Policy allows economy; the cheapest refundable fare is {fare} USD. Check the limit before booking.",
    )
    s.answer(f"The cheapest refundable fare is {fare} USD, leaving 07:10 and back Thursday evening. Shall I book it?")
    s.user(rng.choice(("yes please", "Yes, and an aisle seat.", "ok, book it")))
    if fare > 1500:
        s.approve(
            f"Trip {origin}–{goal} for {fare} USD", rng.choice(("APPROVED", "APPROVED", "EXPIRED")), "user:j.huang"
        )
    if rng.random() < 0.2:
        s.fail("book_flight", {"fare_usd": fare}, "fare is no longer available", server="travel-gds")
        s.answer("That fare was taken while we talked. The next one is 35 USD more; I booked it, it is within policy.")
    s.use(
        "book_flight",
        {"fare_usd": fare, "seat": "aisle"},
        {"locator": f"{rng.randrange(36**6):06d}"},
        server="travel-gds",
    )
    s.answer("Booked. The itinerary is in your calendar and the receipt goes to expenses by itself.")


def fares(s: Script, who: dict[str, Any]) -> None:
    """A watcher that cannot see when it is done: it asks the same again and again, and each time costs more."""
    rng = s.rng
    goal = rng.choice(("LHR", "JFK", "NRT"))
    s.system("You watch fares. Search until a refundable fare below the target is found, then report it.")
    s.user(f"Tell me when there is a refundable fare from VIE to {goal} below 90 USD.")
    for page in range(1, SEARCHES + 1):
        found = [
            {"flight": f"OS{rng.randrange(100, 999)}", "fare_usd": rng.randrange(180, 900), "refundable": True}
            for _ in range(24)
        ]
        s.use(
            "search_flights",
            {"from": "VIE", "to": goal, "refundable": True, "max_fare_usd": 90},
            {"page": page, "of": page + 1, "results": found},
            server="travel-gds",
            say="None below 90 USD yet; there is another page, I am searching again.",
        )
    s.answer("I have found none, and give up.")
