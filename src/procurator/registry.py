"""The schema registry's Confluent-compatible REST API, as far as we need it."""

from typing import Any

import httpx

from procurator.avro_schemas.codec import Schema, UnknownSchema
from procurator.errors import Fatal, Unavailable, UserError

_COMPATIBILITY = "BACKWARD_TRANSITIVE"


class Registry:
    """A client of one registry. Every method raises Unavailable while it does not answer."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        self._client = httpx.Client(base_url=url.rstrip("/"), timeout=timeout_s, trust_env=False)
        self._url = url

    def close(self) -> None:
        self._client.close()

    def fetch(self, schema_id: int) -> str:
        """Return the JSON text of a schema. Raises UnknownSchema when there is none with this id."""
        response = self._request("GET", f"/schemas/ids/{schema_id}")
        if response.status_code == httpx.codes.NOT_FOUND:
            raise UnknownSchema(schema_id)
        return str(self._json(response)["schema"])

    def schema_id(self, schema: Schema) -> int:
        """Return the id under which ``schema`` is registered as a version of its subject.

        Raises UserError when it is not: `procurator setup` registers schemas, nobody else does.
        """
        response = self._request("POST", f"/subjects/{schema.name}", {"schema": schema.text})
        if response.status_code == httpx.codes.NOT_FOUND:
            raise UserError(f"{schema.name} is not in the registry at {self._url}: run `procurator setup`")
        return int(self._json(response)["id"])

    def register(self, schema: Schema) -> int:
        """Register ``schema`` under its name with our compatibility rule; the same schema again changes nothing.

        Raises Fatal when the registry finds it incompatible with an earlier version.
        """
        self._json(self._request("PUT", f"/config/{schema.name}", {"compatibility": _COMPATIBILITY}))
        response = self._request("POST", f"/subjects/{schema.name}/versions", {"schema": schema.text})
        if response.status_code == httpx.codes.CONFLICT:
            raise Fatal(f"{schema.name} is not {_COMPATIBILITY} with its earlier versions: {response.text}")
        return int(self._json(response)["id"])

    def _request(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx.Response:
        try:
            response = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise Unavailable(f"schema registry at {self._url} does not answer: {error}") from error
        if response.status_code >= 500:
            raise Unavailable(f"schema registry at {self._url} answered {response.status_code}")
        return response

    def _json(self, response: httpx.Response) -> dict[str, Any]:
        if response.is_error:
            raise UserError(f"schema registry refused {response.request.url.path}: {response.text[:300]}")
        answer: dict[str, Any] = response.json()
        return answer
