"""ONNX's own cases of its operators: exact, or refused by name, and never wrong."""

from __future__ import annotations

import pytest

from tests.checkpoints.onnx.node_cases import case_of, outcome
from tests.checkpoints.onnx.node_table import counted, outcomes

LEAST = 0.85
"""Share of the cases of agents' operators, in dtypes that agents have, that are exact."""

SAMPLE = (
    ("relu", "test_relu"), ("gelu", "test_gelu_tanh_1"), ("softmax", "test_softmax_axis_1"),
    ("clip", "test_clip_example"), ("where", "test_where_example"), ("gemm", "test_gemm_alpha"),
    ("matmul", "test_matmul_3d"), ("einsum", "test_einsum_batch_matmul"),
    ("conv", "test_conv_with_autopad_same"),
    ("convtranspose", "test_convtranspose_pads"), ("globalmaxpool", "test_globalmaxpool"),
    ("globalaveragepool", "test_globalaveragepool"), ("batch_normalization", "test_batchnorm_example"),
    ("layernormalization", "test_layer_normalization_4d_axis1"),
    ("groupnormalization", "test_group_normalization_example"),
    ("rmsnormalization", "test_rms_normalization_2d_axis0"), ("lstm", "test_lstm_with_peepholes"),
    ("lstm", "test_lstm_batchwise"), ("gru", "test_gru_defaults"), ("gru", "test_gru_seq_length"),
    ("rnn", "test_simple_rnn_with_initial_bias"),
    ("reduce_log_sum_exp", "test_reduce_log_sum_exp_keepdims_random"),
    ("argmax", "test_argmax_keepdims_random_select_last_index"), ("topk", "test_top_k_smallest"),
    ("cumsum", "test_cumsum_2d_axis_1"), ("reshape", "test_reshape_zero_and_negative_dim"),
    ("slice", "test_slice_negative_axes"),
    ("pad", "test_reflect_pad"), ("gather", "test_gather_negative_indices"),
    ("gathernd", "test_gathernd_example_int32_batch_dim1"),
    ("scatterelements", "test_scatter_elements_with_reduction_max"), ("scatternd", "test_scatternd_multiply"),
    ("onehot", "test_onehot_with_negative_axis"),
    ("resize", "test_resize_upsample_sizes_nearest_ceil_half_pixel"),
    ("attention", "test_attention_4d_gqa_causal"), ("if_", "test_if"), ("loop", "test_loop11"),
    ("trilu", "test_tril_neg"), ("split", "test_split_equal_parts_1d_opset18"),
    ("rangeop", "test_range_float_type_positive_delta"), ("eyelike", "test_eyelike_with_dtype"),
)  # fmt: skip
"""One case of each kind, after the module that makes it."""


@pytest.mark.parametrize(("module", "name"), SAMPLE)
def test_a_case_of_each_kind_is_exact(module: str, name: str) -> None:
    found = outcome(case_of(module, name))
    assert found.kind == "exact", found.words


@pytest.mark.parametrize(
    ("module", "name", "words"),
    [
        ("nonzero", "test_nonzero_example", "NonZero"),
        ("scan", "test_scan_sum", "Scan"),
        ("gridsample", "test_gridsample", "GridSample"),
        ("batch_normalization", "test_batchnorm_example_training_mode", "BatchNormalization"),
        ("resize", "test_resize_upsample_scales_cubic", "mode 'cubic'"),
        ("attention", "test_attention_local_window", "left_window_size"),
        ("not_", "test_not_2d", "opset 1,"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(module: str, name: str, words: str) -> None:
    found = outcome(case_of(module, name))
    assert found.kind == "refused"
    assert words in found.words
    assert "\n" not in found.words


@pytest.mark.slow
def test_no_case_is_wrong_and_most_are_exact() -> None:
    found = outcomes()
    wrong = {name: result.words for name, (_, result) in found.items() if result.kind == "wrong"}
    assert not wrong
    counts = counted(found, listed=True)
    assert counts["exact"] / counts.total() >= LEAST, counts
