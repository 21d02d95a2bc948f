"""Which pages there are, and who gets to see which. Pure."""

from dataclasses import dataclass

from procurator.access import Permission, Principal


@dataclass(frozen=True)
class Place:
    """A page of the navigation."""

    key: str
    title: str
    path: str
    icon: str
    permission: Permission = Permission.SESSIONS_READ
    #: Heading under which it stands.
    group: str = "Operations"


PLACES = (
    Place("overview", "Overview", "/", "gauge"),
    Place("sessions", "Sessions", "/sessions", "list"),
    Place("budgets", "Budgets", "/budgets", "wallet"),
    Place("ledger", "Ledger", "/ledger", "shield", Permission.LEDGER_VERIFY, group="Compliance"),
    Place("exports", "Exports", "/exports", "download", Permission.SESSIONS_EXPORT, group="Compliance"),
    Place("audit", "Audit", "/audit", "eye", Permission.ADMIN, group="Compliance"),
    Place("webhooks", "Webhooks", "/webhooks", "hook", Permission.ADMIN, group="Administration"),
    Place("keys", "Keys", "/keys", "key", Permission.ADMIN, group="Administration"),
)


def places_for(principal: Principal | None) -> dict[str, list[Place]]:
    """Return the pages open to ``principal``, by group, in their order."""
    found: dict[str, list[Place]] = {}
    for place in PLACES:
        if principal is not None and principal.may(place.permission):
            found.setdefault(place.group, []).append(place)
    return found
