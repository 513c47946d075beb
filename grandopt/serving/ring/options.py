"""How rings are served."""

from __future__ import annotations

from dataclasses import dataclass

from grandopt.errors import ConfigError


@dataclass(frozen=True)
class RingOptions:
    """`spin_us` is how long the server looks for a ring's next request before it sleeps: a request within
    that time is answered without a wake-up, which costs some microseconds to tens of them; 0 never looks.

    `slots` is how many requests a ring holds where its client does not say, `rings` how many there may be.
    With `any_user` processes of other users are answered, too; the socket's file mode follows.
    """

    spin_us: float = 200.0
    slots: int = 64
    rings: int = 64
    any_user: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.spin_us <= 1e6:
            raise ConfigError(f"spin_us is 0 to 1000000 microseconds, got {self.spin_us:g}")
        if not 2 <= self.slots <= 4096:
            raise ConfigError(f"slots are 2 to 4096, got {self.slots}")
        if self.rings < 1:
            raise ConfigError(f"rings are at least 1, got {self.rings}")
