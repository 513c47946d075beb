"""Made-up archives, one for each rule by which they are laid open. Each takes observations of 6."""

from __future__ import annotations

import torch
from torch import Tensor, nn

OBSERVED = 6
HIDDEN = 5


class Base(nn.Module):
    """One layer behind whatever an archive does."""

    def __init__(self, width: int = OBSERVED) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(width, 3)


class Memory(Base):
    """Hidden and cell state in buffers, a batch of 1; the values in the file are none that `reset` sets."""

    def __init__(self) -> None:
        super().__init__(HIDDEN)
        self.rnn = nn.LSTM(OBSERVED, HIDDEN, num_layers=2)
        self.register_buffer("hidden", torch.full((2, 1, HIDDEN), 0.3))
        self.register_buffer("cell", torch.zeros(2, 1, HIDDEN))

    def forward(self, x: Tensor) -> Tensor:
        out, (h, c) = self.rnn(x.unsqueeze(0), (self.hidden, self.cell))
        self.hidden[:] = h
        self.cell[:] = c
        return self.head(out.squeeze(0))


class Reset(Memory):
    """The same with a method that begins an episode."""

    @torch.jit.export
    def reset_memory(self) -> None:
        self.hidden[:] = -0.5
        self.cell[:] = 0.25


class History(Base):
    """The last three observations, assigned anew at each call."""

    def __init__(self) -> None:
        super().__init__(3 * OBSERVED)
        self.register_buffer("history", torch.linspace(0, 1, 3 * OBSERVED).reshape(1, 3, OBSERVED))

    def forward(self, x: Tensor) -> Tensor:
        self.history = torch.cat([self.history[:, 1:], x.unsqueeze(1)], dim=1)  # type: ignore[has-type]
        return self.head(self.history.flatten(1))


class BareHistory(Base):
    """The same without a dimension for the batch, and with a batch of 1 built in."""

    def __init__(self) -> None:
        super().__init__(3 * OBSERVED)
        self.register_buffer("history", torch.zeros(3, OBSERVED))

    def forward(self, x: Tensor) -> Tensor:
        self.history = torch.cat([self.history[1:], x], dim=0)  # type: ignore[has-type]
        return self.head(self.history.reshape(1, -1))


class FilteredHistory(BareHistory):
    """The same with a convolution over it, which does not take histories beside one another."""

    def forward(self, x: Tensor) -> Tensor:
        self.history = torch.cat([self.history[1:], x], dim=0)  # type: ignore[has-type]
        smooth = torch.nn.functional.conv1d(self.history.unsqueeze(1), torch.ones(1, 1, 3) / 3, padding=1)
        return self.head(smooth.reshape(1, -1))


class Clock(Base):
    """A phase in a buffer of one number, and a counter of whole steps."""

    def __init__(self) -> None:
        super().__init__(OBSERVED + 2)
        self.register_buffer("phase", torch.zeros(1))
        self.register_buffer("count", torch.zeros(1, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.phase += 0.1
        self.count += 1
        more = [self.phase.expand(x.shape[0], 1), self.count.to(torch.float32).expand(x.shape[0], 1)]
        return self.head(torch.cat([x, more[0], 0.01 * more[1]], dim=1))


class LastAction(Base):
    """Smooths with the last action, which is that of the first row."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        action = 0.8 * self.head(x) + 0.2 * self.last
        self.last.copy_(action[0])
        return action


class View(Base):
    """A batch of 1 in the sizes of a view; prints what it sees."""

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.view(1, 3, 2)
        print("frames", frames.shape)
        return self.head(frames[:, -1] - frames[:, 0])


class MadeState(Base):
    """A batch of 1 in the state that it begins each call with."""

    def __init__(self) -> None:
        super().__init__(HIDDEN)
        self.rnn = nn.GRU(2, HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.view(1, 3, 2).transpose(0, 1)
        out, _ = self.rnn(steps, torch.zeros(1, 1, 5))
        return self.head(out[-1])


class Squeezed(Base):
    """Loses a batch of 1 at its end."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x).unsqueeze(1).squeeze()


class Single(Base):
    """Takes one observation without a batch, and no batch of them."""

    def __init__(self) -> None:
        super().__init__(OBSERVED + 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([x.flip(0), x.sum().reshape(1)], dim=0))


class Nested(Base):
    """Takes a state as a tuple, the layers first, and gives it so."""

    def __init__(self) -> None:
        super().__init__(HIDDEN)
        self.rnn = nn.LSTM(OBSERVED, HIDDEN, num_layers=2, batch_first=True)

    def forward(self, x: Tensor, hc: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        out, state = self.rnn(x.unsqueeze(1), hc)
        return self.head(out.squeeze(1)), state


class Named(Base):
    """Takes a dict and gives one, with a scale that need not be given."""

    def forward(self, obs: dict[str, Tensor], scale: Tensor | None = None) -> dict[str, Tensor]:
        action = self.head(torch.cat([obs["body"], obs["goal"]], dim=1))
        if scale is not None:
            action = action * scale
        return {"action": action, "value": action.sum(1)}


class Listed(Base):
    """Takes a list."""

    def forward(self, parts: list[Tensor]) -> Tensor:
        return self.head(torch.cat([parts[0], parts[1]], dim=1))


class Flagged(Base):
    """Samples unless it is told not to, and scales by a number of two kinds."""

    def forward(self, x: Tensor, deterministic: bool, gain: float = 1.0, mode: str = "plain") -> Tensor:
        mean = self.head(x) * gain
        if mode == "squashed":
            mean = torch.tanh(mean)
        if deterministic:
            return mean
        return mean + torch.randn_like(mean)


class Counting(Base):
    """Counts in a number that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.head(x) * self.calls


class Switching(Base):
    """Remembers, and goes another way when what it remembers is large."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("level", torch.zeros(1, 1))

    def forward(self, x: Tensor) -> Tensor:
        self.level += x.mean()
        if bool(self.level.sum() > 1):
            return -self.head(x)
        return self.head(x) + self.level


class Comparing(Base):
    """Remembers, and asks torch for a plain yes or no about the data."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(1, OBSERVED))

    def forward(self, x: Tensor) -> Tensor:
        same = torch.equal(x, self.last)
        self.last.copy_(x)
        return self.head(x) if same else -self.head(x)


class Worded(Base):
    """Takes a dict and gives a word beside the action."""

    def forward(self, obs: dict[str, Tensor]) -> tuple[Tensor, str]:
        return self.head(obs["x"]), "word"
