"""Python functions made from a schema: their source is collected, then becomes code at once.

Only schemas of our own package are compiled, and of them only names and sizes get into the source, as literals.
"""

from collections.abc import Callable
from typing import Any


class Functions:
    """Source of functions with one signature, and what they refer to by name."""

    def __init__(self, parameters: str, names: dict[str, Any]) -> None:
        """``parameters`` as they stand in the signature; ``names`` is what the functions may call."""
        self._parameters = parameters
        self._names = dict(names)
        self._source: list[str] = []
        self._count = 0

    def new_name(self) -> str:
        """Return a name that nothing has yet."""
        self._count += 1
        return f"_{self._count}"

    def define(self, name: str, lines: list[str]) -> None:
        """Add a function with these lines as its body."""
        body = "".join(f"    {line}\n" for line in lines)
        self._source.append(f"def {name}({self._parameters}):\n{body}")

    def assign(self, expression: str) -> str:
        """Add a value made of the functions before it; return its name."""
        name = self.new_name()
        self._source.append(f"{name} = {expression}")
        return name

    def constant(self, value: Any) -> str:
        """Return the name under which the functions find ``value``."""
        name = self.new_name()
        self._names[name] = value
        return name

    def compiled(self, names: list[str]) -> list[Callable[..., Any]]:
        """Return the functions of these names."""
        exec("\n".join(self._source), self._names)  # source of our own making, see above
        return [self._names[name] for name in names]
