"""``procurator api``: the query API, for production and as part of ``procurator up``."""

import typer

from procurator.cli import console
from procurator.config import settings
from procurator.errors import UserError


def register(app: typer.Typer) -> None:
    app.command(name="api", help="Serve the query API.")(api)


def api() -> None:
    """Serve the query API on PROCURATOR_API_HOST and _PORT until SIGTERM; one line of JSON a request on stderr."""
    from procurator import logs
    from procurator.query_api.app import create_app
    from procurator.query_api.auth import AdminKey
    from procurator.query_api.serve import listen, serve
    from procurator.runtime import Stop

    ours = settings()
    key = ours.admin_key.get_secret_value()
    if not key:
        raise UserError("the API needs a key: set PROCURATOR_ADMIN_KEY (`procurator up` makes one by itself)")
    listener = listen(ours.api_host, ours.api_port)
    logs.to_stderr(as_json=True)
    host, port = listener.getsockname()[:2]
    console.print(f"api: http://{host}:{port}", highlight=False)
    stop = Stop()
    app = create_app(ours, AdminKey(key))
    serve(app, listener, ours.trusted_proxies, on_stop=lambda: app.state.services.live.end_streams())
    raise typer.Exit(stop.exit_code)
