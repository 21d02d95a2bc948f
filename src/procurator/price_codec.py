"""Price records to and from raw Avro (see `procurator.avro_schemas.codec`), and the digest in a version's name."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from procurator.avro_schemas.codec import from_decimal, to_decimal
from procurator.price_record import (
    BUCKETS,
    ConditionalRates,
    NameMatch,
    PriceRecord,
    PriceRecordError,
    PriceVersion,
    Rate,
    Rates,
)


def content_digest(provider: str, model: str, org_id: str | None, version: PriceVersion) -> str:
    """Return 12 hex digits over whose price a version is, its names and its rates: same content, same digest.

    Fields at their defaults are left out, so that a field added to the schema changes no digest.
    """
    raw = version_to_avro(version)
    content = {key: raw[key] for key in raw.keys() - {"version", "active_from", "source"}}
    text = json.dumps([provider, model, org_id, _compact(content)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _compact(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _compact(item) for key, item in value.items() if item not in (None, "", [], False)}
    if isinstance(value, list):
        return [_compact(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def to_avro(record: PriceRecord) -> dict[str, Any]:
    """Return the raw Avro dictionary of a record."""
    return {
        "provider": record.provider,
        "model": record.model,
        "org_id": record.org_id,
        "versions": [version_to_avro(version) for version in record.versions],
    }


def version_to_avro(version: PriceVersion) -> dict[str, Any]:
    """Return the raw Avro dictionary of a version."""
    return {
        "version": version.version,
        "active_from": version.active_from_us,
        "source": version.source,
        "withdrawn": version.withdrawn,
        "model_match": _match_to_avro(version.model_match),
        "provider_match": _match_to_avro(version.provider_match),
        "provider_model_match": _match_to_avro(version.provider_model_match),
        "fallback_providers": list(version.fallback_providers),
        "prices": [
            {
                "start_date": price.start_day,
                "daily_from": price.daily_from_us,
                "daily_until": price.daily_until_us,
                "rates": _rates_to_avro(price.rates),
            }
            for price in version.prices
        ],
    }


def _match_to_avro(match: NameMatch | None) -> dict[str, Any] | None:
    if match is None:
        return None
    return {"op": match.op, "text": match.text, "parts": [_match_to_avro(part) for part in match.parts]}


def _rates_to_avro(rates: Rates) -> dict[str, Any]:
    raw: dict[str, Any] = {name: _rate_to_avro(getattr(rates, name)) for name in (*BUCKETS, "requests")}
    return {**raw, "unmetered": list(rates.unmetered)}


def _rate_to_avro(rate: Rate | None) -> dict[str, Any] | None:
    if rate is None:
        return None
    tiers = [{"above_input_tokens": at, "usd_per_million": from_decimal(usd)} for at, usd in rate.tiers]
    return {"usd_per_million": from_decimal(rate.usd_per_million), "tiers": tiers}


def from_avro(raw: Mapping[str, Any]) -> PriceRecord:
    """Return the record of a raw Avro dictionary. Raises PriceRecordError when it breaks a rule."""
    try:
        versions = tuple(_version_from_avro(version) for version in raw["versions"])
        return PriceRecord(raw["provider"], raw["model"], raw["org_id"], versions)
    except (KeyError, TypeError) as error:
        raise PriceRecordError(f"no raw price record: {type(error).__name__}: {error}") from error


def _version_from_avro(raw: Mapping[str, Any]) -> PriceVersion:
    return PriceVersion(
        version=raw["version"],
        active_from_us=raw["active_from"],
        source=raw["source"],
        withdrawn=raw["withdrawn"],
        model_match=_match_from_avro(raw["model_match"]),
        provider_match=_match_from_avro(raw["provider_match"]),
        provider_model_match=_match_from_avro(raw["provider_model_match"]),
        fallback_providers=tuple(raw["fallback_providers"]),
        prices=tuple(
            ConditionalRates(
                _rates_from_avro(price["rates"]), price["start_date"], price["daily_from"], price["daily_until"]
            )
            for price in raw["prices"]
        ),
    )


def _match_from_avro(raw: Mapping[str, Any] | None) -> NameMatch | None:
    return None if raw is None else _parse_match(raw)


def _parse_match(raw: Mapping[str, Any]) -> NameMatch:
    return NameMatch(raw["op"], raw["text"], tuple(_parse_match(part) for part in raw["parts"]))


def _rates_from_avro(raw: Mapping[str, Any]) -> Rates:
    rates = {name: _rate_from_avro(raw[name]) for name in (*BUCKETS, "requests")}
    return Rates(**rates, unmetered=tuple(raw["unmetered"]))


def _rate_from_avro(raw: Mapping[str, Any] | None) -> Rate | None:
    if raw is None:
        return None
    tiers = tuple((tier["above_input_tokens"], to_decimal(tier["usd_per_million"])) for tier in raw["tiers"])
    return Rate(to_decimal(raw["usd_per_million"]), tiers)
