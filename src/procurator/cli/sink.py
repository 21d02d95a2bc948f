"""``procurator sink``: ledgered topics into ClickHouse, exactly once."""

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def sink() -> None:
        """Write every record of the ledgered topics, and the sessions' states, to ClickHouse; stops on SIGTERM."""
        import logging

        from procurator import metrics
        from procurator.cli import console
        from procurator.config import settings
        from procurator.runtime import Stop, announce_ready
        from procurator.sink.service import serve

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger("httpx").setLevel(logging.WARNING)
        stop = Stop()
        metrics.offer(settings())
        serve(settings(), stop, announce_ready)
        console.print("sink stopped", highlight=False)
        raise typer.Exit(stop.exit_code)
