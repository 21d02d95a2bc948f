"""``procurator sink``: ledgered topics into ClickHouse, exactly once."""

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def sink() -> None:
        """Write every record of the ledgered topics, and the sessions' states, to ClickHouse; stops on SIGTERM."""

        from procurator import logs, metrics
        from procurator.cli import console
        from procurator.config import settings
        from procurator.runtime import Stop, announce_ready
        from procurator.sink.service import serve

        logs.to_stderr(settings().logs_are_json)
        stop = Stop()
        metrics.offer(settings())
        serve(settings(), stop, announce_ready)
        console.print("sink stopped", highlight=False)
        raise typer.Exit(stop.exit_code)
