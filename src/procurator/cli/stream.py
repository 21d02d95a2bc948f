"""``procurator stream``: keep the state of every session."""

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def stream() -> None:
        """Fold session events into the state of each session and publish it; stops on SIGTERM."""
        import logging

        from procurator.cli import console
        from procurator.config import settings
        from procurator.runtime import announce_ready
        from procurator.stream_processors.app import StreamConfig, run

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        for chatty in ("faust", "mode", "aiokafka", "httpx", "procurator.stream_processors.transport"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        current = settings()
        config = StreamConfig(
            bootstrap_servers=current.kafka_bootstrap_servers,
            registry_url=current.schema_registry_url,
            data_dir=current.data_dir.expanduser() / "stream",
        )
        code = run(config, announce_ready)
        console.print("stream stopped", highlight=False)
        raise typer.Exit(code)
