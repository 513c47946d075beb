"""Sample Factory's checkpoints (`checkpoint_p0/*.pth`), version 2, with the run's `config.json` beside them.

A policy is a normaliser, an encoder, a recurrent core if `use_rnn` was set, a decoder and one layer of the
parameters of its actions' distribution. The settings in `config.json` say what the weights do not: the
activation, what is subtracted from observations and what they are divided by, the strides of convolutions.
Neither has the action space: numbers, one choice, or several.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from grandopt.compiler.checkpoints import files, weights
from grandopt.compiler.checkpoints.activations import ACTIVATIONS
from grandopt.compiler.checkpoints.base import Checkpoint, FoundStatistics
from grandopt.compiler.checkpoints.frameworks import fixed, heads, layers, normaliser
from grandopt.compiler.checkpoints.frameworks.base import Policy, checkpoint
from grandopt.compiler.checkpoints.frameworks.layers import Tensors
from grandopt.compiler.checkpoints.frameworks.sample_factory.convolutions import convolutions
from grandopt.compiler.checkpoints.frameworks.sample_factory.run import RunSettings, ScaledTanh, beside
from grandopt.compiler.checkpoints.sb3.actions import ArgMax, GroupArgMax
from grandopt.compiler.checkpoints.sb3.observations import ToFloat
from grandopt.compiler.checkpoints.settings import configured_inputs
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from grandopt.signature import Contract, TensorSpec

NAME = "sample_factory"
TITLE = "Sample Factory"
TAKES = frozenset({"inputs", "fix"})

LAST = "action_parameterization.distribution_linear"
SPREAD = "action_parameterization.learned_stddev"
OWN_ACTIVATIONS = ("elu", "relu", "tanh")
EPSILON, CLIP = 1e-5, 5.0
"""Of `RunningMeanStdInPlace`: added inside the root, and where it clips."""

ACTIONS = "--fix actions=continuous|discrete|N,M,…: numbers, a choice, or choices among N, M, …"
IMAGE = "`inputs: [{name: obs, shape: [C, H, W]}]` in grandopt.yaml: the size of the image"


@dataclass(frozen=True)
class _Found:
    """The policy's tensors by their names in it, the key of its observation, and how its parts begin."""

    tensors: Tensors
    key: str
    actor: str

    @property
    def encoder(self) -> str:
        return f"{self.actor}encoder.encoders.{self.key}"

    @property
    def core(self) -> str:
        return f"{self.actor}core.core"

    @property
    def statistics(self) -> str:
        return f"obs_normalizer.running_mean_std.running_mean_std.{self.key}"


def recognises(content: Any) -> bool:
    """Whether it is what the learner saves, with encoders of Sample Factory's own."""
    return _found(content) is not None


def describe(path: Path, content: Any) -> dict[str, Any]:
    """The policy's layers, its normaliser, and what has to be given (see `Framework`)."""
    found, settings = _required(content, path), beside(path)
    network = _layers(found, settings, str(path))
    memory = [layers.memory(found.tensors, found.core, str(path))] if _remembers(found) else []
    asks = [] if _continuous(found) else [ACTIONS]
    if _is_image(found) and f"{found.statistics}.running_mean" not in found.tensors:
        asks.append(IMAGE)
    return {
        "recognised": f"the policy as {TITLE} saves it, observing {found.key!r}",
        "layers": [str(layer) for layer in (*network.encoder, *memory, *network.decoder)],
        "settings": str(settings.file),
        "asks": asks,
        **weights.listed(found.tensors),
    }


def load(name: str, agent: AgentConfig, path: Path, content: Any) -> Checkpoint:
    """The likeliest choices or the means, from raw observations on; with a core also h (and c) in and out.

    Raises CheckpointError where `config.json` is missing or says nothing of what is needed, where the kind of
    actions was not given, and for weights that do not fit.
    """
    found, settings, where = _required(content, path), beside(path), str(path)
    network = _layers(found, settings, where)
    observed, encoder, statistics = _observed(found, settings, agent, path)
    outputs = layers.outputs(network.decoder)
    steps, contract = _actions(found, outputs, settings, agent, path)
    if statistics is not None:
        contract = replace(contract, normalised=True, clip_obs=CLIP)
    encoder += network.encoder
    memory = layers.memory(found.tensors, found.core, where) if _remembers(found) else None
    module = _assembled(encoder, memory, [*network.decoder, *steps])
    scores = _assembled(encoder, memory, network.decoder) if contract.action == "argmax" else None
    inputs: tuple[TensorSpec, ...] = (observed,)
    if memory is not None:
        inputs, contract = layers.remembering(inputs, memory, contract)
    place = found.statistics
    used = FoundStatistics(f"model.{place}", "RunningMeanStdInPlace", used=True)
    policy = Policy(
        module,
        inputs,
        contract,
        {"settings": {"path": str(settings.file), "sha256": files.sha256(settings.file)}},
        scores=scores,
        moments={} if statistics is None else {observed.name: statistics.moments()},
        statistics=() if statistics is None else (used,),
    )
    return checkpoint(name, (NAME, TITLE), path, policy)


@dataclass(frozen=True)
class _Layers:
    """The layers before the core, and those behind it down to the parameters of the distribution."""

    encoder: list[nn.Module]
    decoder: list[nn.Module]


def _assembled(encoder: list[nn.Module], memory: nn.GRU | nn.LSTM | None, head: list[nn.Module]) -> nn.Module:
    if memory is None:
        return nn.Sequential(*encoder, *head)
    return layers.Remembering(nn.Sequential(*encoder), memory, nn.Sequential(*head))


def _required(content: Any, path: Path) -> _Found:
    found = _found(content)
    if found is None:
        raise CheckpointError(f"{path}: holds no policy as {TITLE} saves it")
    return found


def _found(content: Any) -> _Found | None:
    """The policy in what the learner saved; None for anything else, or for encoders that a user wrote."""
    if not isinstance(content, Mapping) or not {"train_step", "env_steps", "model"} <= content.keys():
        return None
    tensors = layers.tensors_of(content, "model")
    if f"{LAST}.weight" not in tensors:
        return None
    for actor in ("", "actor_"):
        keys = layers.stems(layers.below(tensors, f"{actor}encoder.encoders"))
        if len(keys) == 1:
            return _Found(tensors, keys.pop(), actor)
    return None


def _remembers(found: _Found) -> bool:
    return bool(layers.below(found.tensors, found.core))


def _is_image(found: _Found) -> bool:
    return bool(layers.below(found.tensors, f"{found.encoder}.enc.conv_head"))


def _continuous(found: _Found) -> bool:
    """Whether the file says that actions are numbers: their spread is a parameter of its own."""
    return SPREAD in found.tensors


def _layers(found: _Found, settings: RunSettings, where: str) -> _Layers:
    word = settings.word("nonlinearity")
    if word not in OWN_ACTIVATIONS:
        raise CheckpointError(
            f"{settings.file}: nonlinearity is {word!r:.60}, which is none of {', '.join(OWN_ACTIVATIONS)}"
        )
    between = ACTIVATIONS[word]
    if any(
        name.startswith(f"{found.encoder}.{part}")
        for part in ("conv_head", "mlp_layers")
        for name in found.tensors
    ):
        raise CheckpointError(
            f"{where}: its encoder is a ResNet, which is not read; export the policy as ONNX"
        )
    if _is_image(found):
        encoder = convolutions(found.tensors, f"{found.encoder}.enc.conv_head", settings, between, where)
        encoder += _stack(found.tensors, f"{found.encoder}.enc.mlp_layers", between, where)
    else:
        encoder = _stack(found.tensors, f"{found.encoder}.mlp_head", between, where)
    decoder = _stack(found.tensors, f"{found.actor}decoder.mlp", between, where)
    return _Layers(encoder, [*decoder, layers.linear(found.tensors, LAST, where)])


def _stack(tensors: Tensors, prefix: str, between: type[nn.Module], where: str) -> list[nn.Module]:
    """The linear layers at `prefix`, an activation behind each; none where there are none."""
    if not layers.below(tensors, prefix):
        return []
    return layers.stack(tensors, prefix, between, where, last_active=True)


def _observed(
    found: _Found, settings: RunSettings, agent: AgentConfig, path: Path
) -> tuple[TensorSpec, list[nn.Module], normaliser.Normaliser | None]:
    """The input, the steps from it to the encoder, and that of them which normalises, if one does."""
    where = f"{path}: {found.statistics}"
    own = layers.below(found.tensors, found.statistics)
    normalise = None
    if own:
        if not {"running_mean", "running_var"} <= own.keys():
            raise CheckpointError(f"{where} holds no running_mean and running_var")
        normalise = normaliser.inside_root(own["running_mean"], own["running_var"], EPSILON, where, CLIP)
    shape = _shape(found, normalise)
    image = _is_image(found)
    if agent.inputs or shape is None:
        (spec,) = configured_inputs(agent, path, (found.key,), "uint8" if image else "float32")
        if shape is not None and spec.shape != shape:
            raise CheckpointError(
                f"{path}: 'inputs' says {list(spec.shape)}, but the policy observes {list(shape)}"
            )
    else:
        spec = TensorSpec(found.key, shape, "uint8", 0.0, 255.0) if image else TensorSpec(found.key, shape)
    whole = [] if spec.dtype.startswith("float") else [ToFloat()]
    steps = [*whole, *settings.recentred(), *([] if normalise is None else [normalise])]
    return spec, steps, normalise


def _shape(found: _Found, normalise: normaliser.Normaliser | None) -> tuple[int, ...] | None:
    """The shape of an observation, by its statistics or by the first layer; None for an image without any."""
    if normalise is not None:
        return tuple(normalise.mean.shape)
    first = found.tensors.get(f"{found.encoder}.mlp_head.0.weight")
    return None if first is None else (int(first.shape[1]),)


def _actions(
    found: _Found, outputs: int, settings: RunSettings, agent: AgentConfig, path: Path
) -> tuple[list[nn.Module], Contract]:
    """The steps from the parameters of the distribution to the likeliest action, and what that means."""
    if _continuous(found):
        fixed.require_known(agent, path, "a policy whose spread is a parameter", ())
        scale = settings.number("continuous_tanh_scale", 0.0)
        if scale <= 0:
            return [], Contract("continuous")
        bound = (scale,) * outputs
        return [ScaledTanh(scale)], Contract(
            "continuous", low=tuple(-value for value in bound), high=bound, squashed=True
        )
    fixed.require_known(agent, path, f"a policy of {TITLE}", ("actions",))
    given = str(agent.fix.get("actions", ""))
    if given == "discrete":
        return [ArgMax()], Contract("argmax", groups=(outputs,))
    if given == "continuous":
        if settings.values.get("adaptive_stddev") is False or outputs % 2:
            raise CheckpointError(
                f"{path}: its {outputs} outputs are no means with a spread each, so the actions are choices"
            )
        return [heads.FirstHalf()], Contract("continuous")
    sizes = [int(part) for part in given.split(",") if part.strip().isdecimal() and len(part) < 7]
    if given and len(sizes) == len(given.split(",")) and sum(sizes) == outputs and min(sizes) > 0:
        return [GroupArgMax(tuple(sizes))], Contract("argmax", groups=tuple(sizes))
    if given:
        raise CheckpointError(
            f"{path}: 'fix' gives actions={given!r:.60}; it must be continuous, discrete, or sizes that come "
            f"to {outputs}, such as {outputs - 1},1"
        )
    raise fixed.missing(path, f"what its {outputs} outputs are", [ACTIONS])
