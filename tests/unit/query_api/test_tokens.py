"""Which signed tokens are believed, and which tricks are not."""

import base64
import hmac
import json
import time
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter

from procurator.access import Permission, Principal
from procurator.config import Settings
from procurator.errors import UserError
from procurator.query_api.jwks import checked_url, parse_keys
from procurator.query_api.tokens import LEEWAY_S, TokenPolicy, Tokens, parse_roles

_NOW_S = int(time.time())
_SIGNING = JWSRegistry(
    {"x-own": HeaderParameter("Ours", "str")}, algorithms=JWSRegistry.algorithms, strict_check_header=False
)
_RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
_EC = ECKey.generate_key("P-256", {"kid": "ec"})
_ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
_OTHER = RSAKey.generate_key(2048)
_POLICY = TokenPolicy("https://login.example", "procurator", roles=parse_roles("sre=sessions:read:all sre=admin"))
_CLAIMS = {
    "iss": "https://login.example",
    "aud": "procurator",
    "sub": "ada",
    "exp": _NOW_S + 60,
    "org_id": "acme",
    "teams": ["payments"],
    "permissions": ["sessions:read", "sessions:fly"],
}
_ADA = Principal("user:ada", "acme", frozenset({Permission.SESSIONS_READ}), frozenset({"payments"}))


class _Provider:
    """The provider's keys, as its JWKS shows them."""

    def __init__(self, *keys: Key) -> None:
        for_another = {**_OTHER.as_dict(private=False), "kid": "pinned", "alg": "RS512"}
        document = {"keys": [for_another, *(key.as_dict(private=False) for key in keys)]}
        self._keys = parse_keys(json.dumps(document).encode())

    async def find(self, key_id: str) -> Key | None:
        return self._keys.get(key_id)


_TOKENS = Tokens(_POLICY, _Provider(_RSA, _EC, _ED), lambda: _NOW_S * 1_000_000)


def _signed(
    alg: str = "RS256", key: Key = _RSA, kid: str = "rsa", header: dict[str, Any] | None = None, **c: Any
) -> str:
    claims = {name: value for name, value in {**_CLAIMS, **c}.items() if value is not ...}
    return jwt.encode({"alg": alg, "kid": kid, **(header or {})}, claims, key, registry=_SIGNING)


def _forged(header: dict[str, Any], signature: bytes = b"") -> str:
    parts = json.dumps(header).encode(), json.dumps(_CLAIMS).encode(), signature
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def _hmac_signed() -> str:
    """A token whose secret is the public key, as whoever confuses the two would check it."""
    signing_input = _forged({"alg": "HS256", "kid": "rsa"}).removesuffix(".")
    mac = hmac.new(_RSA.as_pem(private=False), signing_input.encode(), "sha256").digest()
    return f"{signing_input}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize(
    ("alg", "key", "kid"), [("RS256", _RSA, "rsa"), ("ES256", _EC, "ec"), ("EdDSA", _ED, "ed"), ("Ed25519", _ED, "ed")]
)
async def test_a_token_of_the_provider_is_believed(alg: str, key: Key, kid: str) -> None:
    token = _signed(alg, key, kid)
    assert await _TOKENS.principal(token) == _ADA


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(_forged({"alg": "none", "kid": "rsa"}), id="alg none"),
        pytest.param(_forged({"alg": "None", "kid": "rsa"}), id="alg None"),
        pytest.param(_forged({"alg": ["RS256"], "kid": "rsa"}, b"x"), id="alg a list"),
        pytest.param(_forged({"kid": "rsa"}, b"x"), id="no alg"),
        pytest.param(_hmac_signed(), id="HS256 with the public key as the secret"),
        pytest.param(_signed("RS512"), id="an algorithm that is not pinned"),
        pytest.param(_signed("RS256", _OTHER, "pinned"), id="another algorithm than the key is for"),
        pytest.param(_signed("ES256", _EC, "rsa"), id="the id of a key of another type"),
        pytest.param(_signed(key=RSAKey.generate_key(2048)), id="signed by somebody else"),
        pytest.param(_signed(kid="unknown"), id="unknown kid"),
        pytest.param(_signed(kid="../../etc/passwd"), id="kid a path"),
        pytest.param(_forged({"alg": "RS256", "kid": {"$ne": ""}}, b"x"), id="kid an object"),
        pytest.param(_signed(header={"crit": ["x-own"], "x-own": "1"}), id="a critical header"),
        pytest.param(
            _signed(header={"jwk": _EC.as_dict(private=False)}, key=_EC, alg="ES256"), id="brings its own key"
        ),
        pytest.param(_signed(iss="https://evil.example"), id="wrong issuer"),
        pytest.param(_signed(iss=...), id="no issuer"),
        pytest.param(_signed(aud="another"), id="wrong audience"),
        pytest.param(_signed(aud=...), id="no audience"),
        pytest.param(_signed(aud=["other", 7]), id="audience not texts"),
        pytest.param(_signed(exp=_NOW_S - LEEWAY_S), id="expired"),
        pytest.param(_signed(exp=...), id="never expires"),
        pytest.param(_signed(exp="tomorrow"), id="expires at a text"),
        pytest.param(_signed(nbf=_NOW_S + LEEWAY_S + 1), id="not valid yet"),
        pytest.param(_signed(iat=_NOW_S + LEEWAY_S + 1), id="issued in the future"),
        pytest.param(_signed(sub=...), id="nobody"),
        pytest.param(_signed(sub=7), id="nobody with a number"),
        pytest.param(_signed(sub="a\nb"), id="a subject of two lines"),
        pytest.param(_signed(org_id=...), id="no organisation"),
        pytest.param(_signed(org_id="*"), id="every organisation"),
        pytest.param(_signed(org_id=""), id="an empty organisation"),
        pytest.param(_signed(org_id=None), id="organisation null"),
        pytest.param(_signed()[:-4] + "AAAA", id="another signature"),
        pytest.param(_signed().rpartition(".")[0] + ".", id="signature cut off"),
        pytest.param("a.b.c", id="no token"),
        pytest.param("..", id="nothing"),
        pytest.param("é.é.é", id="not ASCII"),
        pytest.param("eyJ" + "A" * 20_000 + ".e.e", id="enormous"),
        pytest.param(base64.urlsafe_b64encode(b"[" * 3000).decode().rstrip("=") + ".e30.AA", id="deeply nested"),
    ],
)
async def test_a_token_that_plays_a_trick_is_not(token: str) -> None:
    assert await _TOKENS.principal(token) is None


async def test_clocks_may_differ_a_little() -> None:
    token = _signed(exp=_NOW_S - LEEWAY_S + 1, nbf=_NOW_S + LEEWAY_S, iat=_NOW_S + LEEWAY_S)
    assert await _TOKENS.principal(token) == _ADA


async def test_claims_may_be_paths_and_words_and_roles() -> None:
    policy = TokenPolicy(
        "i", "a", "user.name", "https://acme.example/org", "user.teams", "scope", parse_roles("sre=budgets:write")
    )
    tokens = Tokens(policy, _Provider(_RSA), lambda: _NOW_S * 1_000_000)
    user = {"name": "ada", "teams": ["x", 7, "a\0b"]}
    claims: dict[str, Any] = {"user": user, "https://acme.example/org": "acme", "scope": "openid sre ledger:verify"}
    principal = await tokens.principal(_signed(iss="i", aud=["b", "a"], **claims))
    granted = frozenset({Permission.BUDGETS_WRITE, Permission.LEDGER_VERIFY})
    assert principal == Principal("user:ada", "acme", granted, frozenset({"x"}))


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_keys_that_cannot_be_trusted_are_left_out() -> None:
    keys = [
        OctKey.generate_key(256, {"kid": "secret"}).as_dict(private=True),
        RSAKey.generate_key(1024, {"kid": "weak"}).as_dict(private=False),
        {**_RSA.as_dict(private=False), "kid": "encryption", "use": "enc"},
        {"kty": "RSA", "kid": "broken"},
        {**_EC.as_dict(private=False), "kid": 7},
        "a text",
        _ED.as_dict(private=False),
    ]
    assert set(parse_keys(json.dumps({"keys": keys}).encode())) == {"ed"}


@pytest.mark.parametrize("document", [b"", b"[]", b'{"keys": 1}', b"{}", b"<html>"])
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match="no JWKS"):
        parse_keys(document)


@pytest.mark.parametrize("text", ["sre", "sre=", "=admin", "sre=fly", "sre admin"])
def test_a_role_that_grants_nothing_known_is_named(text: str) -> None:
    with pytest.raises(UserError, match="PROCURATOR_OIDC_ROLES: "):
        parse_roles(text)


def test_without_an_issuer_no_token_is_believed() -> None:
    assert TokenPolicy.of(Settings()) is None


@pytest.mark.parametrize("url", ["http://login.example/keys", "file:///etc/passwd", "", "https://", "ftp://127.0.0.1/"])
def test_keys_come_over_https(url: str) -> None:
    with pytest.raises(UserError, match="is not an https address"):
        checked_url(url)


def test_keys_may_come_from_this_machine() -> None:
    assert checked_url("http://127.0.0.1:8/keys")
    assert checked_url("http://localhost:8/keys")
    assert checked_url("https://login.example/keys")
