"""``procurator doctor``: what is wrong with this installation, and what to do."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from procurator.cli import EXIT_CANNOT_TELL, EXIT_NO


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def doctor(
        as_json: Annotated[bool, typer.Option("--json", help="print one JSON object a line")] = False,
    ) -> None:
        """Examine versions, topics, schemas, tables, grants, clock, disk, lag, checkpoint; exit 1 if one failed."""
        from rich.console import Console
        from rich.markup import escape

        from procurator.config import settings
        from procurator.doctor import Finding, Verdict, examine, worst

        colours = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "red", Verdict.UNKNOWN: "magenta"}
        out = Console(soft_wrap=True, highlight=False)
        findings: list[Finding] = []
        for finding in examine(settings()):
            findings.append(finding)
            if as_json:
                print(json.dumps(asdict(finding)), flush=True)
                continue
            out.print(f"[{colours[finding.verdict]}]{finding.verdict:8}[/] {finding.check:11} {escape(finding.what)}")
            if finding.remedy:
                out.print(f"{'':21}→ {escape(finding.remedy)}")
        verdict = worst(findings)
        code = {Verdict.FAILED: EXIT_NO, Verdict.UNKNOWN: EXIT_CANNOT_TELL}.get(verdict, 0)
        raise typer.Exit(code)
