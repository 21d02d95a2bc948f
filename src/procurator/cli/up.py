"""``procurator up``: the whole stack on this machine, in the foreground."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from procurator.cli.fetch import fetch_missing, say

if TYPE_CHECKING:
    from procurator.deploy.embedded.stack import Stack
    from procurator.runtime import Stop

DataDir = Annotated[
    Path | None, typer.Option(help="Where everything is kept; default: PROCURATOR_DATA_DIR.", show_default=False)
]
PortOffset = Annotated[int, typer.Option(help="Added to every port, so that several stacks can run at once.")]
Only = Annotated[
    str,
    typer.Option(
        help="Run only these, with commas: kafka, registry, clickhouse, setup, stream, sink, sign, api, forward."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def up(data_dir: DataDir = None, port_offset: PortOffset = 0, only: Only = "") -> None:
        """Run Kafka, the schema registry, ClickHouse and all components here until Ctrl-C or SIGTERM."""
        with running_stack(data_dir, port_offset, only) as (stack, stop):
            print(ready_line(stack), flush=True)
            say_login_link(stack)
            stop.wait()
            say("stopping")
        raise typer.Exit(stop.exit_code)


@contextmanager
def running_stack(data_dir: Path | None, port_offset: int, only: str = "") -> "Iterator[tuple[Stack, Stop]]":
    """Yield a stack in which everything is ready, and the stop that SIGTERM and Ctrl-C set from now on.

    Downloads what is missing first. Exits when stopped before all is ready.
    """
    from procurator.config import settings
    from procurator.deploy.embedded.components import selection
    from procurator.deploy.embedded.layout import Ports
    from procurator.deploy.embedded.stack import Stack, StackConfig, StartCancelled
    from procurator.runtime import Stop

    values = settings()
    ports = Ports(values.kafka_port, values.registry_port, values.clickhouse_port, values.api_port)
    components = selection(only)
    ports = ports.shifted(port_offset)
    fetch_missing()
    stop = Stop()
    config = StackConfig(
        data_dir=data_dir or values.data_dir,
        ports=ports,
        components=components,
        admin_key=values.admin_key.get_secret_value(),
        say=say,
        cancelled=stop.is_set,
    )
    try:
        with Stack(config) as stack:
            yield stack, stop
    except StartCancelled:
        raise typer.Exit(stop.exit_code) from None


def ready_line(stack: "Stack") -> str:
    """Return the one line of standard output: ``ready`` and the addresses of what runs as ``name=url`` pairs."""
    addresses = {
        "ui": ("api", f"{stack.api_url}/"),
        "api": ("api", stack.api_url),
        "kafka": ("kafka", stack.kafka),
        "registry": ("registry", stack.registry_url),
        "clickhouse": ("clickhouse", stack.clickhouse_url),
    }
    running = stack.config.components
    return " ".join(["ready", *(f"{name}={url}" for name, (of, url) in addresses.items() if of in running)])


def say_login_link(stack: "Stack") -> None:
    """Say the address that signs a browser in once; nothing where the API does not run."""
    if "api" not in stack.config.components:
        return
    import httpx

    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    try:
        made = httpx.post(f"{stack.api_url}/signin/links", headers=headers, timeout=30, trust_env=False)
        link = made.raise_for_status().json()
    except httpx.HTTPError as error:  # the stack restarts what has just died; the key opens the pages as well
        say(f"no link to sign in: {error}")
        return
    say(f"sign in once, within {link['expires_in_s'] // 60} minutes: {stack.api_url}{link['path']}")
