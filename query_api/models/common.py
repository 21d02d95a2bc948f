"""Shapes that several answers share: times, money, tokens, pages."""

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, computed_field

_EXAMPLE_ID = "0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d"

Time = Annotated[
    str,
    Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-22T16:08:00.000000Z"]),
]
UuidText = Annotated[str, Field(json_schema_extra={"format": "uuid"}, examples=[_EXAMPLE_ID])]
Usd = Annotated[str, Field(json_schema_extra={"format": "decimal"}, examples=["0.012345"])]
LogId = Annotated[str, Field(description="Log: topic id, colon, partition.", examples=[f"{_EXAMPLE_ID}:3"])]
Offset = Annotated[int, Field(description="Offset in the log.", examples=[1234])]
Estimated = Annotated[list[str], Field(description="Names of fields whose values are guesses.", examples=[[]])]

Item = TypeVar("Item")


class Model(BaseModel):
    """An answer or a part of one; fields whose value is unknown are null, never left out."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="ignore")


class Tokens(Model):
    """Disjoint buckets as measured, and the sums that people read."""

    input_tokens: int = Field(0, examples=[1200])
    """Input tokens neither read from nor written to a cache."""
    cached_input_tokens: int = Field(0, examples=[800])
    """Input tokens read from a cache."""
    cache_write_tokens: int = Field(0, examples=[0])
    """Input tokens written to a cache."""
    output_tokens: int = Field(0, examples=[300])
    """Output tokens without reasoning."""
    reasoning_tokens: int = Field(0, examples=[0])
    """Reasoning (thinking) tokens."""

    @computed_field(examples=[2000])  # type: ignore[prop-decorator]
    @property
    def total_input_tokens(self) -> int:
        """Input as shown: input, cached input and cache write."""
        return self.input_tokens + self.cached_input_tokens + self.cache_write_tokens

    @computed_field(examples=[300])  # type: ignore[prop-decorator]
    @property
    def total_output_tokens(self) -> int:
        """Output as shown: output and reasoning."""
        return self.output_tokens + self.reasoning_tokens

    @computed_field(examples=[2300])  # type: ignore[prop-decorator]
    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.total_input_tokens + self.total_output_tokens


class Page(Model, Generic[Item]):
    """One page of an ordered list. It may hold fewer items than ``limit`` and yet have a successor."""

    items: list[Item]
    next_cursor: str | None = Field(examples=["WyI2ZjFjIiwxMl0"])
    """Pass it as ``cursor`` to get the next page; null at the end."""
