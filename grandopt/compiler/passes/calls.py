"""Which layers a network calls, and in which order: the call graph that passes look for patterns in."""

from __future__ import annotations

from collections import Counter

from torch import fx, nn

from grandopt.compiler.program import FORWARD_ERRORS
from grandopt.errors import UnsupportedError, first_line


class CallGraph:
    """The calls of layers of torch.nn in one forward pass, seen symbolically (torch.fx), whatever the data.

    Raises UnsupportedError for a network whose forward cannot be followed without its data.
    """

    def __init__(self, module: nn.Module) -> None:
        try:
            self._graph = fx.Tracer().trace(module)
        except FORWARD_ERRORS as error:
            raise UnsupportedError(f"torch.fx cannot follow the network: {first_line(error)}") from error
        self._layers = dict(module.named_modules(remove_duplicate=False))
        called = [self._layers[str(node.target)] for node in self._graph.nodes if node.op == "call_module"]
        self._times = Counter(id(layer) for layer in called)
        self._read = {str(node.target) for node in self._graph.nodes if node.op == "get_attr"}

    def chains(self) -> list[tuple[str, str]]:
        """The pairs of layer names of which the second takes the first's output, and nothing else does.

        Both layers are called exactly once, no parameter of theirs is read past them, and neither has hooks.
        """
        found = []
        for node in self._graph.nodes:
            if node.op != "call_module" or len(node.all_input_nodes) != 1:
                continue
            source = node.all_input_nodes[0]
            if source.op != "call_module" or len(source.users) != 1:
                continue
            first, second = str(source.target), str(node.target)
            if self._plain(first) and self._plain(second):
                found.append((first, second))
        return found

    def _plain(self, name: str) -> bool:
        layer = self._layers[name]
        hooked = bool(layer._forward_hooks or layer._forward_pre_hooks)
        read = any(target.startswith(f"{name}.") for target in self._read)
        return self._times[id(layer)] == 1 and not hooked and not read
