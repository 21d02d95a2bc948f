"""``procurator acls``: what each component needs of Kafka, for ``kafka-acls.sh``."""

import shlex

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def acls() -> None:
        """Print the arguments of kafka-acls.sh that grant each component what it needs, one line each."""
        from procurator.topic_access import grants

        for grant in grants():
            print(shlex.join(grant.arguments))
