"""``procurator sign``: record and sign the heads of all logs."""

from typing import Annotated

import typer

AcceptGaps = Annotated[
    bool, typer.Option("--accept-gaps", help="Go on where Kafka begins although earlier records were never signed.")
]
Adopt = Annotated[
    bool,
    typer.Option("--adopt", help="Take control entries that no checkpoint on file covers for this signer's own."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def sign(accept_gaps: AcceptGaps = False, adopt: Adopt = False) -> None:
        """Recompute the trees of all logs from Kafka and sign their heads every few seconds; stops on SIGTERM."""

        from procurator import logs, metrics
        from procurator.cli import console
        from procurator.config import settings
        from procurator.runtime import Stop, announce_ready
        from procurator.signer.service import config_of, serve

        logs.to_stderr(settings().logs_are_json)
        stop = Stop()
        metrics.offer(settings())
        serve(config_of(settings(), accept_gaps, adopt), stop, announce_ready)
        console.print("signer stopped", highlight=False)
        raise typer.Exit(stop.exit_code)
