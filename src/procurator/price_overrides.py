"""The operator's own prices: a TOML file, checked line by line, as price records. Pure but for `load`.

::

    version = "2026-12"                        # names this revision of the file

    [[price]]
    provider = "openai"
    model = "gpt-4o"                           # as events name it, or as the price list does
    aliases = ["our-gpt"]                      # optional: further names, exact
    org_id = "acme"                            # optional: for one organisation; else for all
    active_from = 2026-12-01T00:00:00Z         # optional: else as soon as allowed (60 s ahead)
    active_until = 2027-01-01T00:00:00Z        # optional: from then on the list price holds again
    source = "contract 4711"                   # optional: for people
    usd_per_million = { input = 2.00, cached_input = 1.00, output = 8.00 }

    [[price.tiers]]                            # optional: rates of calls with a larger input
    above_input_tokens = 200000
    usd_per_million = { input = 4.00, output = 12.00 }

Buckets: input, cached_input, cache_write, output, reasoning, and requests (a fee, per million calls).
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from procurator.errors import UserError
from procurator.price_arithmetic import TOKENS_MAX
from procurator.price_changes import AS_SOON_AS_ALLOWED, PastPriceChange
from procurator.price_codec import content_digest
from procurator.price_override_entry import Entry, OverrideError, blocks, line_of
from procurator.price_record import (
    BUCKETS,
    EVERY_ORG,
    ConditionalRates,
    NameMatch,
    PriceRecord,
    PriceRecordError,
    PriceVersion,
    Rate,
    Rates,
)

BYTES_MAX = 4 * 2**20
_CHARGES = (*BUCKETS, "requests")
_FIELDS = (
    "provider",
    "model",
    "aliases",
    "org_id",
    "active_from",
    "active_until",
    "source",
    "usd_per_million",
    "tiers",
)
#: A bucket that is priced needs the price of the wider one.
_WIDER = {"cached_input": "input", "cache_write": "input", "reasoning": "output"}


def load(path: Path) -> list[PriceRecord]:
    """Return the records of the file. Raises OverrideError, or UserError when the file cannot be read."""
    try:
        with path.open("rb") as source:
            raw = source.read(BYTES_MAX + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot read the file of prices: {error.strerror}") from error
    if len(raw) > BYTES_MAX:
        raise OverrideError(str(path), 1, "", f"larger than {BYTES_MAX} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise OverrideError(str(path), line, "", "not UTF-8") from error
    return parse(text, str(path))


def parse(text: str, file: str = "prices.toml") -> list[PriceRecord]:
    """Return the operator's records, by organisation, provider and model. Raises OverrideError at the first problem.

    Versions without ``active_from`` stand at AS_SOON_AS_ALLOWED, see `procurator.price_changes`.
    """
    items = _items(text, file)
    _check_names(items)
    return _grouped(items)


def located(refused: PastPriceChange, text: str, file: str) -> OverrideError:
    """Return what `price_changes` refused as an error at the line of the file that asks for it."""
    for entry, record in _items(text, file):
        for field, version in zip(("active_from", "active_until"), record.versions, strict=False):
            if version == refused.version:
                return OverrideError(file, line_of(text, entry.number, field), field, refused.problem)
    return OverrideError(file, 1, "", str(refused))


def _items(text: str, file: str) -> list[tuple[Entry, PriceRecord]]:
    """Return each ``[[price]]`` with its record."""
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        found = re.search(r"line (\d+)", str(error))
        line = int(found[1]) if found else len(text.splitlines()) or 1
        raise OverrideError(file, line, "", f"no TOML: {error}") from error
    if unknown := document.keys() - {"version", "price"}:
        field = min(unknown)
        raise OverrideError(file, line_of(text, 0, field), field, "unknown; the file has version and [[price]] tables")
    revision = document.get("version")
    if not isinstance(revision, str) or not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", revision):
        line = line_of(text, 0, "version")
        raise OverrideError(file, line, "version", "must name this revision: 1 to 64 of A-Z a-z 0-9 . _ -")
    tables = document.get("price", [])
    if not isinstance(tables, list) or len(tables) != len(blocks(text)) - 1:
        raise OverrideError(file, line_of(text, 0, "price"), "price", "write each price as a table [[price]]")
    entries = [Entry(file, text, number, fields) for number, fields in enumerate(tables, 1)]
    return [(entry, _record(entry, revision)) for entry in entries]


def _record(entry: Entry, revision: str) -> PriceRecord:
    """Return the record of one entry: its version, and a withdrawn one at active_until."""
    if unknown := [field for field in entry.fields if field not in _FIELDS]:
        entry.fail(unknown[0], f"unknown; a price has {', '.join(_FIELDS)}")
    provider = entry.name("provider", entry.fields.get("provider"))
    model = entry.name("model", entry.fields.get("model"))
    org_id = entry.name("org_id", entry.fields["org_id"]) if "org_id" in entry.fields else EVERY_ORG
    from_us, until_us = entry.time_us("active_from"), entry.time_us("active_until")
    if until_us is not None and until_us <= (from_us or 0):
        entry.fail("active_until", "must be later than active_from")
    if from_us is not None and from_us <= 0:
        entry.fail("active_from", "must be later than 1970")
    version = PriceVersion(
        version="",
        active_from_us=AS_SOON_AS_ALLOWED if from_us is None else from_us,
        source=entry.name("source", entry.fields.get("source", f"{Path(entry.file).name} {revision}")),
        model_match=_aliases(entry),
        prices=(ConditionalRates(_rates(entry)),),
    )
    digest = content_digest(provider, model, org_id, version)
    versions = [replace(version, version=f"operator-{revision}+{digest}")]
    if until_us is not None:
        name = f"operator-{revision}+{digest}-until"
        versions.append(PriceVersion(name, until_us, source=version.source, withdrawn=True))
    return PriceRecord(provider, model, org_id, tuple(versions))


def _aliases(entry: Entry) -> NameMatch | None:
    aliases = entry.fields.get("aliases", [])
    if not isinstance(aliases, list):
        entry.fail("aliases", "must be a list of names")
    names = [entry.name("aliases", alias) for alias in aliases]
    return NameMatch("ANY", parts=tuple(NameMatch("EQUALS", name) for name in names)) if names else None


def _rates(entry: Entry) -> Rates:
    base = _charges(entry, entry.fields.get("usd_per_million"))
    for bucket, wider in _WIDER.items():
        if bucket in base and wider not in base:
            entry.fail(bucket, f"needs a rate of {wider} beside it")
    tiers = entry.fields.get("tiers", [])
    if not isinstance(tiers, list) or not all(isinstance(tier, dict) for tier in tiers):
        entry.fail("tiers", "write each tier as a table [[price.tiers]]")
    steps = [_tier(entry, number, tier, base) for number, tier in enumerate(tiers, 1)]
    for number, ((low, _), (high, _)) in enumerate(pairwise(steps), 2):
        if low >= high:
            entry.fail("above_input_tokens", f"must be more than in the tier before, {low}", tier=number)
    rates: dict[str, Any] = {
        bucket: Rate(usd, tuple((above, step[bucket]) for above, step in steps if bucket in step))
        for bucket, usd in base.items()
    }
    return Rates(**rates)


def _tier(
    entry: Entry, number: int, tier: Mapping[str, Any], base: Mapping[str, Decimal]
) -> tuple[int, dict[str, Decimal]]:
    if unknown := tier.keys() - {"above_input_tokens", "usd_per_million"}:
        entry.fail(min(unknown), "unknown; a tier has above_input_tokens and usd_per_million", tier=number)
    above = tier.get("above_input_tokens")
    if type(above) is not int or not 0 <= above <= TOKENS_MAX:
        entry.fail("above_input_tokens", f"must be a whole number from 0 to 2^53, not {above!r}", tier=number)
    charges = _charges(entry, tier.get("usd_per_million"), tier=number)
    if missing := charges.keys() - base.keys():
        entry.fail(min(missing), "has a rate in this tier, but none outside of it", tier=number)
    return above, charges


def _charges(entry: Entry, value: Any, tier: int = 0) -> dict[str, Decimal]:
    if not isinstance(value, dict) or not value:
        entry.fail("usd_per_million", "must be rates such as { input = 2.5, output = 10 }; 0 is free", tier=tier)
    charges = {}
    for bucket, usd in value.items():
        if bucket not in _CHARGES:
            entry.fail(bucket, f"unknown; a rate is one of {', '.join(_CHARGES)}", tier=tier)
        if type(usd) not in (int, Decimal):
            entry.fail(bucket, f"must be a number of USD per million, not {usd!r}", tier=tier)
        try:
            charges[bucket] = Rate(Decimal(usd)).usd_per_million
        except PriceRecordError as error:
            entry.fail(bucket, str(error), tier=tier)
    return charges


def _grouped(items: Sequence[tuple[Entry, PriceRecord]]) -> list[PriceRecord]:
    """Return one record a model: its entries, which must not overlap in time, after one another."""
    groups: dict[tuple[str, str, str], list[tuple[Entry, PriceRecord]]] = {}
    for entry, record in items:
        key = (record.org_id or EVERY_ORG, record.provider.lower(), record.model.lower())
        groups.setdefault(key, []).append((entry, record))
    records = []
    for _, group in sorted(groups.items()):
        group.sort(key=lambda item: item[1].versions[0].active_from_us)
        versions: list[PriceVersion] = []
        for entry, record in group:
            first = record.versions[0]
            if versions and versions[-1].withdrawn and versions[-1].active_from_us == first.active_from_us:
                versions.pop()  # the next price begins where the one before ends
            if versions and first.active_from_us <= versions[-1].active_from_us:
                entry.fail("active_from", f"{record.provider} {record.model} has another price at that time")
            versions += record.versions
        records.append(replace(group[0][1], versions=tuple(versions)))
    return records


def _check_names(items: Sequence[tuple[Entry, PriceRecord]]) -> None:
    """Refuse a name that would mean two models of one provider and organisation."""
    owners: dict[tuple[str | None, str, str], str] = {}
    for entry, record in items:
        match, model = record.versions[0].model_match, record.model.lower()
        aliases = [part.text.lower() for part in match.parts] if match else []
        for field, name in (("model", model), *(("aliases", alias) for alias in aliases)):
            owner = owners.setdefault((record.org_id, record.provider.lower(), name), model)
            if owner != model:
                entry.fail(field, f"{name!r} means {owner!r} already")
