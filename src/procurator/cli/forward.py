"""``procurator forward``: ledger entries to the endpoints of webhooks."""

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def forward() -> None:
        """Deliver ledger entries to the webhooks that the API was told of, signed; stops on SIGTERM."""
        import asyncio

        from procurator import logs, metrics
        from procurator.cli import console
        from procurator.config import settings
        from procurator.forwarder.service import serve
        from procurator.runtime import Stop, announce_ready

        logs.to_stderr(settings().logs_are_json)
        stop = Stop()
        metrics.offer(settings())
        asyncio.run(serve(settings(), stop, announce_ready))
        console.print("forwarder stopped", highlight=False)
        raise typer.Exit(stop.exit_code)
