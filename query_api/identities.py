"""Whoever may call: the admin key, the API's keys, an identity provider's tokens; each token is one of them or none."""

from collections.abc import Sequence

from procurator.access import Principal
from procurator.config import Settings
from procurator.query_api.auth import Authenticator
from procurator.query_api.jwks import Jwks
from procurator.query_api.tokens import TokenPolicy, Tokens


class Identities:
    """Asks one authenticator after the other; the first that knows a token says whose it is."""

    def __init__(self, authenticators: Sequence[Authenticator]) -> None:
        self._authenticators = tuple(authenticators)

    async def principal(self, token: str) -> Principal | None:
        """Return whose token it is, or None. Raises Unavailable when that cannot be told now."""
        for authenticator in self._authenticators:
            principal = await authenticator.principal(token)
            if principal is not None:
                return principal
        return None


class Provider:
    """The identity provider that the settings name: its tokens, believed by its keys. `close` it."""

    def __init__(self, policy: TokenPolicy, jwks: Jwks) -> None:
        self._jwks = jwks
        self._tokens = Tokens(policy, jwks)

    @classmethod
    def of(cls, settings: Settings) -> "Provider | None":
        """Return the provider, None when the settings name none. Raises UserError for settings that cannot be."""
        policy = TokenPolicy.of(settings)
        return None if policy is None else cls(policy, Jwks(settings.oidc_jwks_url))

    async def principal(self, token: str) -> Principal | None:
        """Return who calls with one of the provider's tokens."""
        return await self._tokens.principal(token)

    async def close(self) -> None:
        """Close the connections."""
        await self._jwks.close()
