"""What a verification found, and what follows from it. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

#: Findings kept in full; beyond it they are counted.
FINDINGS_MAX = 200


class Verdict(IntEnum):
    """The answer, which is also the exit code."""

    SOUND = 0
    TAMPERED = 1
    CANNOT_TELL = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. ``what`` is one of a small set of snake_case words; ``since`` names a checkpoint."""

    verdict: Verdict
    what: str
    where: str
    message: str
    since: str = ""

    def to_json(self) -> dict[str, str]:
        shown = {"verdict": self.verdict.name.lower(), "what": self.what, "where": self.where, "message": self.message}
        return {**shown, "since": self.since} if self.since else shown


@dataclass
class Report:
    """Everything found. Integrity (`findings`) and completeness are apart: what never came is nobody's edit.

    ``counts``: what was looked at, and entries that are purged, erased or not signed yet.
    """

    findings: list[Finding] = field(default_factory=list)
    completeness: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    anchor: str = ""
    _by_verdict: Counter[Verdict] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        """Note a finding."""
        self._by_verdict[finding.verdict] += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)

    def tampered(self, what: str, where: str, message: str, since: str = "") -> None:
        """Note that something was changed, removed or added."""
        self.add(Finding(Verdict.TAMPERED, what, where, message, since))

    def cannot_tell(self, what: str, where: str, message: str) -> None:
        """Note that something could not be judged."""
        self.add(Finding(Verdict.CANNOT_TELL, what, where, message))

    def incomplete(self, what: str, where: str, count: int, **details: Any) -> None:
        """Note what is missing although nothing was changed: ``count`` of it."""
        self.counts[what] += count
        if len(self.completeness) < FINDINGS_MAX:
            self.completeness.append({"what": what, "where": where, "count": count, **details})

    @property
    def verdict(self) -> Verdict:
        """Tampered if anything was; else cannot tell if anything could not be judged; else sound."""
        for verdict in (Verdict.TAMPERED, Verdict.CANNOT_TELL):
            if self._by_verdict[verdict]:
                return verdict
        return Verdict.SOUND

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {
            "verdict": self.verdict.name.lower(),
            "anchor": self.anchor,
            "findings": [finding.to_json() for finding in self.findings],
            "findings_total": sum(self._by_verdict.values()),
            "completeness": self.completeness,
            "counts": dict(self.counts),
        }
