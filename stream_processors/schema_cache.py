"""IO: schemas by id for a decoder that runs in an event loop, which must not wait for the registry."""

import asyncio

from procurator.avro_schemas.codec import UnknownSchema
from procurator.errors import Unavailable
from procurator.registry import Registry


class SchemaWanted(Unavailable):
    """A schema is not here yet: `SchemaCache.fetch` it, then decode again."""

    def __init__(self, schema_id: int) -> None:
        super().__init__(f"schema id {schema_id} is still to be fetched")
        self.schema_id = schema_id


class SchemaCache:
    """`get` is what a Decoder calls. Schemas never change, so they are kept; that one is unknown is not."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._texts: dict[int, str] = {}
        self._unknown: UnknownSchema | None = None

    def get(self, schema_id: int) -> str:
        """Return the schema's text. Raises SchemaWanted; UnknownSchema once after `fetch` has found none."""
        if self._unknown is not None and self._unknown.schema_id == schema_id:
            error, self._unknown = self._unknown, None
            raise error
        text = self._texts.get(schema_id)
        if text is None:
            raise SchemaWanted(schema_id)
        return text

    async def fetch(self, schema_id: int) -> None:
        """Fetch a schema in another thread. Raises Unavailable while the registry is away."""
        try:
            self._texts[schema_id] = await asyncio.to_thread(self._registry.fetch, schema_id)
        except UnknownSchema as error:
            self._unknown = error
