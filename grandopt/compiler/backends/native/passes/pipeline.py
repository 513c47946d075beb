"""The passes in order, each with what it is for."""

from __future__ import annotations

from collections.abc import Callable, Collection

from grandopt.compiler.backends.native.check import check
from grandopt.compiler.backends.native.form import Graph
from grandopt.compiler.backends.native.passes.attend import attend
from grandopt.compiler.backends.native.passes.borders import borders
from grandopt.compiler.backends.native.passes.fold_affine import fold_affine
from grandopt.compiler.backends.native.passes.fold_concat import fold_concat
from grandopt.compiler.backends.native.passes.fold_pads import fold_pads
from grandopt.compiler.backends.native.passes.fuse_epilogues import fuse_epilogues
from grandopt.compiler.backends.native.passes.fuse_maps import fuse_maps
from grandopt.compiler.backends.native.passes.lift_views import lift_views
from grandopt.compiler.backends.native.passes.narrow import narrow
from grandopt.compiler.backends.native.passes.prune import prune
from grandopt.compiler.backends.native.passes.reorder import reorder
from grandopt.compiler.backends.native.passes.share import share

PASSES: tuple[Callable[[Graph], Graph], ...] = (
    prune,  # translators may leave results that nobody asked for
    share,  # the same view or projection, written twice in the network
    fold_pads,  # of zeros around what a convolution reads, no copy is made
    narrow,  # nothing is computed that no one reads
    lift_views,  # brings element-wise ops next to the product behind a view
    reorder,  # what a convolution gives need not be turned to be flattened
    fold_affine,  # norm weights, observation scales and chained products cost nothing at run time
    fold_concat,  # products in a row with a concatenation between them are one product too
    fuse_maps,  # one loop instead of several
    fuse_epilogues,  # activations and residuals while the product is in registers
    attend,  # scores that only a soft maximum reads are never all in memory
    borders,  # what lies beyond the edges of an image, where it is read
    prune,
)


def simplify(graph: Graph, without: Collection[Callable[[Graph], Graph]] = ()) -> Graph:
    """Run all passes but those of `without`; the graph is checked before the first and after each."""
    check(graph, "translation")
    for step in (step for step in PASSES if step not in without):
        graph = check(step(graph), step.__name__)
    return graph
