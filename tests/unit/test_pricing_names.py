"""What names mean, where the library's data of today leaves a rule untried."""

from procurator.price_names import Catalogue, Found
from procurator.price_record import ConditionalRates, NameMatch, PriceRecord, PriceVersion, Rates


def listed(
    provider: str, model: str, match: NameMatch | None = None, *, fallbacks: tuple[str, ...] = ()
) -> PriceRecord:
    version = PriceVersion("v", 0, "a test", model_match=match, fallback_providers=fallbacks)
    return PriceRecord(provider, model, None, (version,))


def meant(catalogue: Catalogue, provider: str | None, model: str) -> tuple[str | None, str | None]:
    found = catalogue.find(provider, model)
    return found.provider, found.model


def test_fallbacks_are_searched_in_their_order_one_step_far() -> None:
    records = [
        listed("a", "own", fallbacks=("c", "b")),
        listed("b", "shared-b", NameMatch("CONTAINS", "shared"), fallbacks=("d",)),
        listed("c", "shared-c", NameMatch("CONTAINS", "shared")),
        listed("d", "far"),
    ]
    catalogue = Catalogue(records, 0)
    assert meant(catalogue, "a", "shared") == ("a", "shared-c")
    assert meant(catalogue, "a", "far") == ("a", None)
    assert meant(catalogue, "b", "far") == ("b", "far")


def test_the_first_match_by_name_wins_whatever_the_order_of_records() -> None:
    records = [listed("a", name, NameMatch("STARTS_WITH", "m")) for name in ("m-2", "m-10", "m-1")]
    assert meant(Catalogue(records, 0), "a", "m-2") == ("a", "m-1")


def test_a_name_without_a_condition_is_itself_alone() -> None:
    assert meant(Catalogue([listed("a", "Model")], 0), "A", "mODEL") == ("a", "Model")
    assert meant(Catalogue([listed("a", "Model")], 0), "a", "model-2") == ("a", None)


def test_what_is_not_known_is_not_guessed() -> None:
    assert Catalogue([], 0).find("a", "m") == Catalogue([listed("a", "m")], 0).find(None, "") == Found()
    assert Catalogue([listed("a", "m")], -1).find("a", "m") == Found()


def test_where_no_condition_of_time_holds_the_first_rates_do() -> None:
    first, second = ConditionalRates(Rates(unmetered=("x",)), start_day=9), ConditionalRates(Rates(), start_day=5)
    version = PriceVersion("v", 0, "a test", prices=(first, second))
    assert version.rates_at(0) is first.rates
    assert PriceVersion("v", 0, "a test").rates_at(0) is None
