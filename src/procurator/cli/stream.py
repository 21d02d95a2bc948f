"""``procurator stream``: keep the state of every session."""

import typer

#: A clean stop commits once more; when Kafka hangs it would wait for long, and not to commit does no harm.
_STOP_S_MAX = 4.0


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def stream() -> None:
        """Fold session events into the state of each session and publish it; stops on SIGTERM."""
        import os
        import threading

        from procurator import logs, metrics
        from procurator.cli import console
        from procurator.config import settings
        from procurator.runtime import announce_ready
        from procurator.stream_processors.app import StreamConfig, run

        current = settings()
        logs.to_stderr(
            current.logs_are_json, ("faust", "mode", "aiokafka", "httpx", "procurator.stream_processors.transport")
        )
        config = StreamConfig(
            bootstrap_servers=current.kafka_bootstrap_servers,
            registry_url=current.schema_registry_url,
            data_dir=current.data_dir.expanduser() / "stream",
        )

        def stopping(code: int) -> None:
            patience = threading.Timer(_STOP_S_MAX, os._exit, (code,))
            patience.daemon = True
            patience.start()

        metrics.offer(current)
        code = run(config, announce_ready, stopping)
        console.print("stream stopped", highlight=False)
        raise typer.Exit(code)
