"""Style sheets, modules and icons as the browser gets them: read once, named by what is in them, cached for ever."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

_FOLDER = Path(__file__).with_name("static")
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Assets:
    """Every file of the folder ``static`` by its name."""

    files: dict[str, bytes]

    @classmethod
    def read(cls) -> "Assets":
        """Read the folder."""
        return cls({path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES})

    @property
    def digest(self) -> str:
        """A name for these contents: modules import one another within it, so that old and new never mix."""
        digest = sha256()
        for name, content in self.files.items():
            digest.update(sha256(name.encode()).digest() + sha256(content).digest())
        return digest.hexdigest()[:12]

    def media_type(self, name: str) -> str:
        """Return the Content-Type of a file that is there."""
        return _TYPES[Path(name).suffix]
