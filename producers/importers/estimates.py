"""What a recording does not say, guessed; whoever uses a guess names its field in ``estimated``. Pure."""

from collections.abc import Sequence

#: A rule of thumb for English and JSON; OpenAI's own documentation gives it.
CHARACTERS_PER_TOKEN = 4
#: Messages without a time are this far apart.
STEP_US = 1_000_000

_PROVIDERS = (
    ("gpt", "openai"),
    ("chatgpt", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("claude", "anthropic"),
    ("gemini", "google"),
    ("grok", "x-ai"),
    ("mistral", "mistral"),
    ("deepseek", "deepseek"),
)


def tokens(characters: int) -> int:
    """Return about how many tokens so many characters are, rounded up."""
    return -(-characters // CHARACTERS_PER_TOKEN)


def provider_of(model: str) -> str:
    """Return the provider that a model's name suggests, else ``unknown``; ``vendor/model`` says it outright."""
    vendor, slash, _ = model.partition("/")
    if slash:
        return vendor
    return next((provider for prefix, provider in _PROVIDERS if model.lower().startswith(prefix)), "unknown")


def share(total: int, weights: Sequence[int]) -> list[int]:
    """Return ``total`` divided as ``weights`` are, in integers whose sum is ``total`` exactly.

    Equal shares where all weights are 0; nothing for no weights.
    """
    if not weights:
        return []
    whole = sum(weights)
    if whole == 0:
        weights, whole = [1] * len(weights), len(weights)
    reached, shares, given = 0, [], 0
    for weight in weights:
        reached += weight
        up_to_here = total * reached // whole
        shares.append(up_to_here - given)
        given = up_to_here
    return shares
