"""What agents that write code, read data and match papers do all day. Pure."""

from typing import Any

from procurator.producers.simulator.plan import Script

_MODULES = ("billing/retry.py", "auth/session.py", "catalog/search.py", "ingest/parser.py", "web/forms.py")


def coding(s: Script, who: dict[str, Any]) -> None:
    """A failing test is traced and mended."""
    rng = s.rng
    path = rng.choice(_MODULES)
    test = f"tests/test_{path.rpartition('/')[2]}"
    line = rng.randrange(20, 240)
    s.system(
        "You fix failing tests in this repository. Read before you edit, run the tests after, keep the diff small."
    )
    s.user(f"CI is red on main: {test} fails since the last merge. Please fix it and open a pull request.")
    s.use(
        "bash",
        {"command": f"pytest -q {test}"},
        f"F....\n{test}:{line}: AssertionError: assert 3 == 2\n1 failed, {rng.randrange(4, 60)} passed in 1.9s",
        slow=15,
        thinking="Reproduce first. An off-by-one after a merge often comes from a changed default.",
    )
    s.use(
        "read_file",
        {"path": path, "lines": [line - 8, line + 8]},
        f"def attempts(policy):\n    # {line}\n    return policy.retries + 1 if policy.enabled else 0\n",
        say=f"The assertion is about the number of attempts; I am reading {path}.",
    )
    for attempt in range(rng.randrange(1, 4)):
        s.use(
            "edit_file",
            {
                "path": path,
                "old": "policy.retries + 1",
                "new": "max(1, policy.retries)" if attempt else "policy.retries",
            },
            "replaced 1 occurrence",
            say=""
            if attempt
            else "Retries already count the first attempt since the merge, so the +1 is one too many.",
        )
        if rng.random() < 0.2:
            s.hang("bash", {"command": "pytest -q"}, 120, say="Running everything.")
        s.use("bash", {"command": f"pytest -q {test}"}, f"{rng.randrange(5, 60)} passed in 2.1s", slow=15)
    s.use(
        "open_pull_request",
        {"title": f"Count the first attempt once in {path}", "base": "main", "draft": False},
        {"number": rng.randrange(400, 4000), "checks": "queued"},
        server="github",
    )
    s.answer(
        f"The merge changed what `retries` counts and {path} still added one. I removed the addition, the test passes,"
        " and the pull request is open."
    )


def incident(s: Script, who: dict[str, Any]) -> None:
    """An alert is looked into, and silenced or handed on."""
    rng = s.rng
    service = rng.choice(("checkout", "search", "ledger-sink", "mailer"))
    p99 = rng.randrange(900, 6000)
    s.system("You are the first responder. Gather evidence, name one likely cause, act only within the runbook.")
    s.user(f"ALERT {service}: p99 latency {p99} ms for 10 min (threshold 800 ms), region eu-central")
    s.use(
        "query_metrics",
        {"service": service, "metric": "latency_p99", "minutes": 60},
        {"points": [rng.randrange(120, p99) for _ in range(12)], "deploys": [{"minute": -14, "version": "2026.11.3"}]},
        server="observability",
        thinking="The rise begins at the deploy 14 minutes ago. Correlation only; check errors and saturation too.",
    )
    s.use(
        "search_logs",
        {"service": service, "query": "level:error", "minutes": 20},
        [{"count": rng.randrange(10, 900), "message": "connection pool exhausted: 50 in use, 112 waiting"}],
        server="observability",
    )
    if rng.random() < 0.5:
        s.approve(f"Roll {service} back to 2026.11.2", "APPROVED", "user:oncall.platform")
        s.use("rollback", {"service": service, "to": "2026.11.2"}, {"status": "done"}, server="deployer", slow=40)
        s.answer(
            f"{service} is rolled back; p99 is down to {rng.randrange(150, 400)} ms. The new pool size was the cause."
        )
    else:
        s.answer(
            f"{service}: the pool is exhausted since 2026.11.3. Outside my runbook; handed to on-call with evidence."
        )


def report(s: Script, who: dict[str, Any]) -> None:
    """A scheduled report is written from a warehouse."""
    rng = s.rng
    region = rng.choice(("EMEA", "LATAM", "APAC", "North America"))
    rows = rng.randrange(12_000, 900_000)
    s.system("You write the nightly revenue report. Every figure comes from the warehouse; say when data is late.")
    s.user(f"Write the report for {region}, compare with the same weekday last week.")
    if rng.random() < 0.2:
        s.fail(
            "run_sql",
            {"sql": f"select sum(net) from revenue where region = '{region}' group by weekdy"},
            'column "weekdy" does not exist',
            server="warehouse",
        )
    s.use(
        "run_sql",
        {"sql": f"select weekday, sum(net), count(*) from revenue where region = '{region}' group by weekday"},
        {"rows_read": rows, "result": [[day, rng.randrange(40_000, 900_000)] for day in ("Mon", "Tue", "Wed", "Thu")]},
        server="warehouse",
        slow=25,
        thinking="Group by weekday; then the difference to last week as a percentage, one decimal.",
    )
    s.use("check_freshness", {"table": "revenue"}, {"late_partitions": rng.choice((0, 0, 0, 2))}, server="warehouse")
    change = rng.uniform(-9, 14)
    s.answer(
        f"# Revenue {region}\n\nNet revenue moved {change:+.1f} % against the same weekday last week, over {rows:,}"
        f" orders. Largest change: {rng.choice(('renewals', 'new business', 'refunds'))}. All partitions were on time."
    )


def matching(s: Script, who: dict[str, Any]) -> None:
    """A workflow matches an invoice with its order and receipt."""
    rng = s.rng
    order, total = f"PO-{rng.randrange(100_000, 999_999)}", rng.randrange(300, 48_000)
    off = rng.choice((0, 0, 0, rng.randrange(5, 400)))
    s.system("You match supplier invoices with orders and goods receipts. Tolerance: 1 %. Above it, explain and stop.")
    s.user(f"Match invoice over {total + off}.00 EUR, supplier says order {order}.")
    s.use(
        "get_order",
        {"order": order},
        {
            "order": order,
            "total_eur": total,
            "lines": rng.randrange(1, 14),
            "supplier": "Nordmann Büroausstattung GmbH",
        },
        server="erp",
    )
    s.use("get_receipt", {"order": order}, {"received": True, "missing_lines": 0}, server="erp", slow=3)
    if off:
        s.approve(
            f"Invoice for {order} is {off} EUR above the order", rng.choice(("APPROVED", "DENIED")), "user:ap.lead"
        )
        s.answer(f"The invoice exceeds {order} by {off} EUR; it waits with the buyer, who was asked for a reason.")
    else:
        s.use("post_invoice", {"order": order, "total_eur": total}, {"document": rng.randrange(10**9)}, server="erp")
        s.answer(f"Order, receipt and invoice agree on {total}.00 EUR. Posted for payment in the next run.")


def contract(s: Script, who: dict[str, Any]) -> None:
    """A contract is read for risky clauses."""
    rng = s.rng
    pages = rng.randrange(8, 60)
    s.system("You review contracts against the playbook. Quote the clause, name the deviation, propose our wording.")
    s.user(f"Please review the attached master services agreement ({pages} pages), mostly liability and termination.")
    s.use(
        "read_document",
        {"document": "msa.pdf", "sections": ["liability", "termination"]},
        "12.2 The Supplier's liability is unlimited for indirect loss … 17.1 Either party may terminate with 180 days'"
        " notice. " * rng.randrange(2, 12),
        server="documents",
        slow=4,
        thinking="Unlimited indirect loss is outside the playbook (cap: fees of 12 months). 180 days exceeds our 90.",
    )
    s.answer(
        "Two deviations. 12.2: liability for indirect loss is unlimited; our playbook caps it at the fees of twelve"
        " months. 17.1: notice of 180 days; we accept 90. Proposed wording is attached to each clause."
    )
