"""The price list as records: complete, deterministic, small enough for the topic."""

import genai_prices
import pytest
from genai_prices import types as lib
from genai_prices.data_snapshot import DataSnapshot, get_snapshot, set_custom_snapshot

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.errors import Fatal
from procurator.price_codec import from_avro, to_avro
from procurator.price_source import list_prices


def test_each_model_of_the_library_is_one_record() -> None:
    names = [(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models]
    assert [(record.provider, record.model) for record in list_prices()] == names


def test_the_same_data_gives_the_same_versions_each_of_one_model() -> None:
    first, again = list_prices(), list_prices(active_from_us=7)
    versions = [record.versions[0].version for record in first]
    assert versions == [record.versions[0].version for record in again]
    assert len(set(versions)) == len(versions)
    assert all(version.startswith(f"genai-prices-{genai_prices.__version__}+") for version in versions)


def test_records_are_equal_after_avro_and_small() -> None:
    schema = load_schema("price")
    decoder = Decoder(schema, lambda _: schema.text)
    encoded = [schema.encode(to_avro(record), 7) for record in list_prices()]
    assert [from_avro(decoder.decode(value)) for value in encoded] == list_prices()
    assert max(map(len, encoded)) < 10_000
    assert sum(map(len, encoded)) < 1_000_000


def test_data_of_another_shape_stops_rather_than_prices_otherwise() -> None:
    providers = get_snapshot().providers
    try:
        set_custom_snapshot(DataSnapshot(providers=providers[::-1], from_auto_update=False))
        with pytest.raises(Fatal, match="providers are not in order; first match would differ"):
            list_prices()
        odd = lib.Provider(id="p", name="p", api_pattern="", models=[lib.ModelInfo(id="m", match=object())])
        set_custom_snapshot(DataSnapshot(providers=[odd], from_auto_update=False))
        with pytest.raises(Fatal, match="a condition object is new to us"):
            list_prices()
    finally:
        set_custom_snapshot(None)
