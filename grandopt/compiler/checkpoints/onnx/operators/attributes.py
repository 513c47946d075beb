"""The attributes of each operator that its translation knows. Any other changes what a node computes."""

from __future__ import annotations

from collections.abc import Mapping

_WINDOW = "auto_pad dilations kernel_shape pads strides"
_RECURRENT = "activation_alpha activation_beta activations clip direction hidden_size layout"
_REDUCED = "axes keepdims noop_with_empty_axes"
_TEXT = {
    "ArgMax ArgMin": "axis keepdims select_last_index",
    "Attention": "is_causal kv_num_heads q_num_heads qk_matmul_output_mode scale softcap softmax_precision",
    "AveragePool": f"{_WINDOW} ceil_mode count_include_pad",
    "BatchNormalization": "epsilon momentum training_mode spatial",
    "BitShift": "direction",
    "Cast": "to saturate round_mode",
    "CastLike": "saturate round_mode",
    "Celu Elu LeakyRelu Swish ThresholdedRelu": "alpha",
    "Clip": "max min",
    "Compress Concat Gather GatherElements Hardmax LogSoftmax OneHot Scatter Softmax Flatten": "axis",
    "Constant": "value value_float value_floats value_int value_ints",
    "ConstantOfShape": "value",
    "Conv": f"{_WINDOW} group",
    "ConvTranspose": f"{_WINDOW} group output_padding output_shape",
    "CumProd CumSum": "exclusive reverse",
    "DepthToSpace SpaceToDepth": "blocksize mode",
    "Dropout": "ratio seed",
    "Einsum": "equation",
    "EyeLike": "dtype k",
    "GRU": f"{_RECURRENT} linear_before_reset",
    "GatherND": "batch_dims",
    "Gelu": "approximate",
    "Gemm": "alpha beta transA transB",
    "GlobalLpPool": "p",
    "GroupNormalization": "epsilon num_groups stash_type",
    "HardSigmoid": "alpha beta",
    "InstanceNormalization": "epsilon",
    "IsInf": "detect_negative detect_positive",
    "LRN": "alpha beta bias size",
    "LSTM": f"{_RECURRENT} input_forget",
    "LayerNormalization RMSNormalization": "axis epsilon stash_type",
    "LpNormalization": "axis p",
    "LpPool": f"{_WINDOW} ceil_mode p",
    "MaxPool": f"{_WINDOW} ceil_mode storage_order",
    "MeanVarianceNormalization": "axes",
    "Mod": "fmod",
    "Pad": "mode pads value",
    "RNN": _RECURRENT,
    "Range": "stash_type",
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd": _REDUCED,
    "ReduceSum ReduceSumSquare": _REDUCED,
    "Reshape": "allowzero",
    "Resize": (
        "antialias axes coordinate_transformation_mode cubic_coeff_a exclude_outside extrapolation_value "
        "keep_aspect_ratio_policy mode nearest_mode"
    ),
    "RotaryEmbedding": "interleaved num_heads rotary_embedding_dim",
    "ScatterElements": "axis reduction",
    "ScatterND": "reduction",
    "Selu": "alpha gamma",
    "Shape": "end start",
    "Shrink": "bias lambd",
    "Slice": "axes ends starts",
    "Split": "axis num_outputs split",
    "Squeeze Unsqueeze": "axes",
    "TopK": "axis k largest sorted",
    "Transpose": "perm",
    "Trilu": "upper",
    "Upsample": "mode scales",
    "If": "then_branch else_branch",
    "Loop": "body",
}

ATTRIBUTES: Mapping[str, frozenset[str]] = {
    op: frozenset(attributes.split()) for ops, attributes in _TEXT.items() for op in ops.split()
}
"""By operator; one that is not here has none."""
