"""Which model a provider's and a model's name mean: the rules of `genai-prices`, over list prices. Pure.

The library's rules (its `data_snapshot.py` and `types.py`), which the tests compare these with:

- Names are compared without regard to case; the first match wins, in the library's order, which is by name.
- A provider is meant by its name, else by the first provider whose condition its name meets. No provider: the first
  whose condition the model's name meets. `litellm` with `provider/model` is that provider, if there is one.
- A model that its provider lacks may be another provider's (Azure serves OpenAI's models): one step, in order.
- A name that nothing matches is tried again with a compact date in full: `-20251211` as `-2025-12-11`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from procurator.price_record import NameMatch, PriceRecord, PriceVersion

_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


@dataclass(frozen=True, slots=True)
class Found:
    """What names mean. ``provider`` is None when it is unknown; ``model`` and ``version`` when the model is."""

    provider: str | None = None
    model: str | None = None
    version: PriceVersion | None = None


@dataclass(frozen=True, slots=True)
class _Provider:
    """A provider's names and models at one instant; ``models`` are (name, version), by name."""

    name: str
    match: NameMatch | None
    model_match: NameMatch | None
    fallbacks: tuple[str, ...]
    models: tuple[tuple[str, PriceVersion], ...]

    def find(self, model: str) -> Found | None:
        for name, version in self.models:
            condition = version.model_match
            if condition.matches(model) if condition else name.lower() == model:
                return Found(self.name, name, version)
        return None


class Catalogue:
    """All list prices in force at one instant, and the search in them."""

    def __init__(self, records: Iterable[PriceRecord], at_us: int) -> None:
        """Take the list prices among ``records`` that are in force at ``at_us``."""
        in_force = [
            (record.provider, record.model, version)
            for record in records
            if record.org_id is None and (version := record.version_at(at_us)) and not version.withdrawn
        ]
        in_force.sort(key=lambda entry: entry[:2])
        self._providers: dict[str, _Provider] = {}
        for name, entries in groupby(in_force, key=lambda entry: entry[0]):
            models = tuple((model, version) for _, model, version in entries)
            # All list prices of a provider carry the same provider fields.
            first = models[0][1]
            self._providers[name] = _Provider(
                name, first.provider_match, first.provider_model_match, first.fallback_providers, models
            )

    def find(self, provider: str | None, model: str) -> Found:
        """Return what the names mean; an empty provider is like none."""
        model = model.lower()
        meant = None
        if provider and provider.lower() == "litellm":
            prefix, slash, rest = model.partition("/")
            if slash and (meant := self._provider(prefix)):
                model = rest
            else:
                meant = self._provider(provider)
            provider = None
        elif provider:
            meant = self._provider(provider)
        if meant is None and not provider:
            meant = self._provider_of_model(model)
        if meant is None:
            return Found()
        found = self._model(meant, model)
        if found is None and (full := _with_full_dates(model)) != model:
            found = self._model(meant, full)
        return found or Found(meant.name)

    def _provider(self, name: str) -> _Provider | None:
        name = name.lower().strip()
        if provider := self._providers.get(name):
            return provider
        return next((p for p in self._providers.values() if p.match and p.match.matches(name)), None)

    def _provider_of_model(self, model: str) -> _Provider | None:
        if not model:
            return None
        return next((p for p in self._providers.values() if p.model_match and p.model_match.matches(model)), None)

    def _model(self, provider: _Provider, model: str) -> Found | None:
        if found := provider.find(model):
            return found
        for name in provider.fallbacks:
            fallback = self._providers.get(name)
            if fallback and (found := fallback.find(model)):
                return Found(provider.name, found.model, found.version)
        return None


def _with_full_dates(model: str) -> str:
    def replace(found: re.Match[str]) -> str:
        year, month, day = (int(part) for part in found.groups())
        try:
            return f"-{date(year, month, day).isoformat()}"
        except ValueError:
            return found[0]

    return _COMPACT_DATE.sub(replace, model)
