"""What a supervised process is: frozen specifications and policies. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class RestartPolicy:
    """When a process that ended is started again: after a growing, jittered pause, for ever.

    ``failures`` counts the ends in a row; one that had run for ``healthy_after_s`` starts the count again.
    """

    first_s: float = 0.2
    factor: float = 2.0
    pause_s_max: float = 15.0
    jitter: float = 0.25
    healthy_after_s: float = 30.0

    def failures_after(self, failures: int, ran_s: float) -> int:
        """Return the ends in a row, counting one that came after ``ran_s`` seconds."""
        return 1 if ran_s >= self.healthy_after_s else failures + 1

    def pause_s(self, failures: int, chance: float) -> float:
        """Return the pause before the next start; ``chance`` is uniform in [0, 1)."""
        pause_s = min(self.pause_s_max, self.first_s * self.factor ** min(failures - 1, 32))
        return pause_s * (1 - self.jitter + 2 * self.jitter * chance)


@dataclass(frozen=True)
class ProcessSpec:
    """One child process. ``env`` is its whole environment; ``ready`` is asked until it answers True, and never
    raises; ``ready_file``, if any, is removed before each start.

    ``one_shot``: it is done when it exits with 0, and what depends on it waits for that. A process that ends
    ``start_tries`` times before it was ever ready, or is not ready within ``start_s``, fails the whole start.
    """

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] = bool
    ready_file: Path | None = None
    depends_on: tuple[str, ...] = ()
    one_shot: bool = False
    start_tries: int = 3
    start_s: float = 120.0
    stop_s: float = 5.0
    restart: RestartPolicy = RestartPolicy()


def stop_tiers(specs: tuple[ProcessSpec, ...]) -> list[list[ProcessSpec]]:
    """Return the processes in the order to stop them: each before what it depends on, tiers side by side."""
    tiers: list[list[ProcessSpec]] = []
    left = list(specs)
    while left:
        needed = {name for spec in left for name in spec.depends_on if name != spec.name}
        tier = [spec for spec in left if spec.name not in needed]
        if not tier:
            raise ValueError(f"processes depend on one another: {[spec.name for spec in left]}")
        tiers.append(tier)
        left = [spec for spec in left if spec not in tier]
    return tiers
