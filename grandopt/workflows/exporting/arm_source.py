"""Beside the C library of one machine, the source for 64-bit Arm: make takes it for a compiler of that."""

from __future__ import annotations

from grandopt.artifacts.artifact import Artifact
from grandopt.config.engines import NativeOptions
from grandopt.errors import GrandoptError, UnsupportedError, first_line

ARCHITECTURE = "aarch64"
MAKE = str.maketrans({"$": "$$", "#": "", "(": "[", ")": "]", "\\": "/"})
"""What keeps a sentence one argument of make."""

CHOICE = """\
# What make reads first. A compiler for 64-bit Arm gets the source in {folder}, every other one the Makefile:
#   make CC=aarch64-linux-gnu-gcc
ifneq ($(findstring {folder},$(shell $(CC) -dumpmachine)),)
{arm}else
include Makefile
endif
"""
DELEGATED = """\
all libraries clean:
\t$(MAKE) -C {folder} $@
.PHONY: all libraries clean
"""


def arm_source(artifact: Artifact) -> dict[str, bytes]:
    """The files by their names in an exported folder; none for an artifact that was built on Arm.

    Where the artifact cannot be rendered for Arm, make says so, with the reason, when it is asked to.
    """
    options = artifact.manifest.options
    levels = options.get("levels", {})
    if any(name.startswith("arm") for name in levels):
        return {}
    try:
        source = _source(artifact)
    except (GrandoptError, ValueError) as error:  # the latter: options that are none
        # Where the artifact lies says nothing to a host.
        reason = first_line(error).removeprefix(f"{artifact.path}: ").translate(MAKE)
        refusal = f"$(error there is no source for {ARCHITECTURE} here: {reason})\n"
        return {"GNUmakefile": CHOICE.format(folder=ARCHITECTURE, arm=refusal).encode()}
    chosen = CHOICE.format(folder=ARCHITECTURE, arm=DELEGATED.format(folder=ARCHITECTURE))
    return {
        "GNUmakefile": chosen.encode(),
        **{f"{ARCHITECTURE}/{name}": content for name, content in source.items()},
    }


def _source(artifact: Artifact) -> dict[str, bytes]:
    # These need torch, which a native artifact alone does not.
    from grandopt.compiler.backends.native.other_machines import source_for
    from grandopt.workflows.exporting.program import carried

    options = artifact.manifest.options
    if options.get("scaled"):
        raise UnsupportedError(
            "its int8 codes follow observations that were recorded, which no artifact holds; build it on Arm"
        )
    known = {name: options[name] for name in NativeOptions.model_fields if name in options}
    return source_for(carried(artifact.path), NativeOptions(**{**known, "levels": ()}), ARCHITECTURE)
