"""The operators that a network of a stranger may call without `--trust`.

Each computes values from values: none opens a file, reaches a device of the system, changes what others see,
or takes an address or a size on trust. A name stands for all of its overloads and for its in-place form
("relu" for "relu_"). What is not here is refused by name, whether it would do harm or not.
"""

from __future__ import annotations

ARITHMETIC = """
    abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr angle arccos arccosh arcsin arcsinh
    arctan arctan2 arctanh asin asinh atan atan2 atanh baddbmm bitwise_and bitwise_left_shift bitwise_not
    bitwise_or bitwise_right_shift bitwise_xor bmm ceil chain_matmul clamp clamp_max clamp_min clip complex
    conj conj_physical copysign cos cosh cross deg2rad degrees digamma div divide divmod dot erf erfc erfinv
    exp exp2 expm1 fabs fix float_power floor floor_divide floordiv fmax fmin fmod frac frexp gamma gcd ge
    ger greater greater_equal gt heaviside hypot i0 igamma igammac imag inner inverse isclose isfinite isin
    isinf isnan isneginf isposinf isreal kron lcm ldexp le lerp less less_equal lgamma log log10 log1p log2
    logaddexp logaddexp2 logical_and logical_not logical_or logical_xor logit lt mathremainder matmul
    matrix_exp matrix_power maximum minimum mm modf mul multiply mv mvlgamma nan_to_num ne neg negative
    nextafter not_equal outer polar polygamma positive pow rad2deg radians real reciprocal remainder renorm
    resolve_conj resolve_neg round rsqrt rsub sgn sigmoid sign signbit sin sinc sinh special_digamma
    special_entr special_erf special_erfc special_erfcx special_erfinv special_exp2 special_expit
    special_expm1 special_gammainc special_gammaincc special_gammaln special_i0 special_i0e special_i1
    special_i1e special_log1p special_log_ndtr special_log_softmax special_logit special_logsumexp
    special_multigammaln special_ndtr special_ndtri special_polygamma special_psi special_round special_sinc
    special_softmax special_xlog1py special_xlogy special_zeta sqrt square sub subtract tan tanh tensordot
    true_divide trunc vdot xlogy __and__ __iand__ __ilshift__ __ior__ __irshift__ __ixor__ __lshift__ __or__
    __rshift__ __xor__ _conj _conj_physical _neg_view
"""

REDUCTIONS = """
    all allclose amax amin aminmax any argmax argmin argsort bincount bucketize cdist corrcoef count_nonzero
    cov cummax cummin cumprod cumsum cumulative_trapezoid diff dist eq equal frobenius_norm gradient histc
    kthvalue linalg_cross linalg_cholesky linalg_det linalg_diagonal linalg_eigh linalg_eigvalsh linalg_inv
    linalg_matmul linalg_matrix_exp linalg_matrix_norm linalg_matrix_power linalg_multi_dot linalg_norm
    linalg_pinv linalg_qr linalg_slogdet linalg_solve linalg_solve_triangular linalg_svd linalg_svdvals
    linalg_tensorinv linalg_vander linalg_vecdot linalg_vector_norm logcumsumexp logdet logsumexp max mean
    median min mode msort nanmean nanmedian nanquantile nansum norm norm_except_dim nuclear_norm
    pairwise_distance pdist prod quantile searchsorted slogdet sort std std_mean sum sum_to_size topk trace
    trapezoid trapz triangular_solve cholesky cholesky_inverse cholesky_solve det svd qr pinverse
    unique_consecutive unique_dim unique_dim_consecutive vander var var_mean _cdist_forward _euclidean_dist
    _linalg_det _linalg_eigh _linalg_slogdet _linalg_solve_ex _linalg_svd _linalg_check_errors
    _pdist_forward _unique _unique2 _is_all_true _is_any_true linalg_cholesky_ex linalg_inv_ex
    linalg_solve_ex linalg_lu_factor linalg_lu_factor_ex linalg_lu linalg_lu_solve _logcumsumexp
"""

LAYERS = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d affine_grid_generator alpha_dropout avg_pool1d avg_pool2d avg_pool3d batch_norm
    bilinear celu channel_shuffle col2im constant_pad_nd conv1d conv2d conv3d conv_depthwise3d conv_tbc
    conv_transpose1d conv_transpose2d conv_transpose3d convolution cosine_similarity dropout einsum elu
    embedding embedding_bag embedding_renorm feature_alpha_dropout feature_dropout fractional_max_pool2d
    fractional_max_pool3d gelu glu grid_sampler grid_sampler_2d grid_sampler_3d group_norm gru gru_cell
    hardshrink hardsigmoid hardswish hardtanh im2col instance_norm layer_norm leaky_relu linear log_sigmoid
    log_sigmoid_forward log_softmax lstm lstm_cell max_pool1d max_pool1d_with_indices max_pool2d
    max_pool2d_with_indices max_pool3d max_pool3d_with_indices max_unpool2d max_unpool3d mish
    mkldnn_convolution mkldnn_linear mkldnn_rnn_layer native_batch_norm native_channel_shuffle
    native_dropout native_group_norm native_layer_norm native_norm pad pixel_shuffle pixel_unshuffle prelu
    reflection_pad1d reflection_pad2d reflection_pad3d relu relu6 replication_pad1d replication_pad2d
    replication_pad3d rms_norm rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell rrelu rrelu_with_noise
    scaled_dot_product_attention selu silu slow_conv3d slow_conv3d_forward slow_conv_dilated2d
    slow_conv_dilated3d slow_conv_transpose2d slow_conv_transpose3d softmax softplus softshrink thnn_conv2d
    threshold upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d
    upsample_nearest3d upsample_trilinear3d __interpolate __upsample __upsample_bilinear __upsample_nearest
    _adaptive_avg_pool2d _adaptive_avg_pool3d _add_relu _batch_norm_impl_index _batch_norm_no_update
    _convolution _convolution_mode _embedding_bag _embedding_bag_forward_only _fused_dropout _fused_rms_norm
    _log_softmax _masked_softmax _native_batch_norm_legit _native_batch_norm_legit_functional
    _native_batch_norm_legit_no_training _native_multi_head_attention _nested_tensor_from_mask
    _nested_tensor_from_mask_left_aligned _nnpack_available _nnpack_spatial_convolution
    _pack_padded_sequence _pad_circular _pad_enum _pad_packed_sequence _prelu_kernel _safe_softmax
    _scaled_dot_product_attention_math _scaled_dot_product_efficient_attention
    _scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu _slow_conv2d_forward
    _softmax _thnn_fused_gru_cell _thnn_fused_lstm_cell _transform_bias_rescale_qkv
    _transformer_encoder_layer_fwd _trilinear _upsample_bicubic2d_aa _upsample_bilinear2d_aa
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d _weight_norm
    _weight_norm_interface quantized_gru quantized_lstm to_dense to_mkldnn to_padded_tensor
    nested_to_padded_tensor
"""

LOSSES = """
    binary_cross_entropy binary_cross_entropy_with_logits cosine_embedding_loss cross_entropy_loss ctc_loss
    hinge_embedding_loss huber_loss kl_div l1_loss margin_ranking_loss mse_loss multi_margin_loss
    multilabel_margin_loss multilabel_margin_loss_forward nll_loss nll_loss2d nll_loss2d_forward
    nll_loss_forward nll_loss_nd poisson_nll_loss smooth_l1_loss soft_margin_loss triplet_margin_loss
    _ctc_loss
"""

SHAPES = """
    adjoint alias alias_copy argwhere as_strided as_strided_copy as_strided_scatter atleast_1d atleast_2d
    atleast_3d block_diag broadcast_shapes broadcast_tensors broadcast_to cartesian_prod cat chunk clone
    column_stack combinations concat concatenate contiguous copy detach detach_copy diag diag_embed diagflat
    diagonal diagonal_copy diagonal_scatter dim dsplit dstack element_size expand expand_as expand_copy
    flatten flip fliplr flipud gather hsplit hstack index index_add index_copy index_fill index_put
    index_reduce index_select lift lift_fresh lift_fresh_copy masked_fill masked_scatter masked_select
    matrix_H mH mT meshgrid moveaxis movedim narrow narrow_copy nonzero nonzero_numpy nonzero_static numel
    numpy_T one_hot pad_sequence permute permute_copy put ravel repeat repeat_interleave reshape reshape_as
    roll rot90 row_stack scatter scatter_add scatter_reduce select select_copy select_scatter size slice
    slice_copy slice_scatter split split_copy split_with_sizes split_with_sizes_copy squeeze squeeze_copy
    stack storage_offset stride swapaxes swapdims sym_is_contiguous sym_numel sym_size sym_storage_offset
    sym_stride t t_copy take take_along_dim tensor_split tile transpose transpose_copy tril tril_indices
    triu triu_indices unbind unbind_copy unflatten unfold unfold_copy unsafe_chunk unsafe_split
    unsafe_split_with_sizes unsqueeze unsqueeze_copy view view_as view_as_complex view_as_complex_copy
    view_as_real view_as_real_copy view_copy vsplit vstack where T _dim_arange _index_put_impl _infer_size
    _reshape_alias _reshape_alias_copy _reshape_copy _reshape_from_tensor _shape_as_tensor _stack
    _unsafe_index _unsafe_index_put _unsafe_masked_index _unsafe_masked_index_put_accumulate _unsafe_view
"""

VALUES = """
    arange as_tensor bartlett_window bernoulli binomial blackman_window can_cast cauchy chalf cpu dequantize
    device dtype empty empty_like empty_permuted empty_strided exponential eye fill full full_like geometric
    get_device hamming_window hann_window int_repr is_complex is_conj is_contiguous is_floating_point
    is_grad_enabled is_inference is_leaf is_neg is_non_overlapping_and_dense is_nonzero is_pinned
    is_same_size is_scripting is_signed item kaiser_window linspace log_normal logspace multinomial
    new_empty new_empty_strided new_full new_ones new_zeros normal normal_functional ones ones_like poisson
    promote_types q_per_channel_axis q_per_channel_scales q_per_channel_zero_points q_scale q_zero_point
    qscheme quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic rand rand_like randint
    randint_like randn randn_like random randperm requires_grad result_type scalar_tensor
    sym_constrain_range sym_constrain_range_for_size tensor to type_as uniform zero zeros zeros_like
    fake_quantize_per_channel_affine fake_quantize_per_channel_affine_cachemask
    fake_quantize_per_tensor_affine fake_quantize_per_tensor_affine_cachemask fft_fft fft_fft2 fft_fftfreq
    fft_fftn fft_fftshift fft_hfft fft_ifft fft_ifft2 fft_ifftn fft_ifftshift fft_ihfft fft_irfft fft_irfft2
    fft_irfftn fft_rfft fft_rfft2 fft_rfftfreq fft_rfftn istft stft _assert_async _assert_scalar
    _assert_tensor_metadata _cast_Byte _cast_Char _cast_Double _cast_Float _cast_Half _cast_Int _cast_Long
    _cast_Short _choose_qparams_per_tensor _efficientzerotensor _fft_c2c _fft_c2r _fft_r2c
    _functional_assert_async _functional_assert_scalar _functional_sym_constrain_range
    _functional_sym_constrain_range_for_size _local_scalar_dense _make_per_channel_quantized_tensor
    _make_per_tensor_quantized_tensor _no_grad_fill _no_grad_normal _no_grad_uniform _no_grad_zero
    _sample_dirichlet _standard_gamma _to_copy _to_cpu
"""

LANGUAGE = """
    Bool Complex ComplexImplicit Delete Float FloatImplicit Int IntImplicit ScalarImplicit Size append bin
    capitalize chr clear count dict endswith extend find format get get_autocast_dtype has_torch_function
    hash hex index insert is_autocast_cpu_enabled is_autocast_enabled isalnum isalpha isdecimal isdigit
    isidentifier islower isnumeric isprintable isspace istitle isupper items join keys len list lower lstrip
    oct ord partition percentFormat pop popitem range remove replace reverse rfind rindex rpartition rsplit
    rstrip set_grad_enabled setdefault sorted splitlines startswith str strip swapcase title update upper
    values warn __contains__ __derive_index __getitem__ __is__ __isnot__ __not__ __range_length
    __round_to_zero_floordiv __len__ _get_tracing_state _grad_sum_to_size _list_to_tensor _set_item
    _size_if_not_equal _tensor_to_list _unwrap_optional
"""
"""What TorchScript's own lists, dicts, texts and conversions are."""

ATEN = frozenset(" ".join((ARITHMETIC, REDUCTIONS, LAYERS, LOSSES, SHAPES, VALUES, LANGUAGE)).split())

_CONSTRUCTS = """
    AutogradZero BroadcastMKLDNNTensors ConstantMKLDNNTensor MKLDNNClamp MKLDNNHardSigmoid MKLDNNHardSwish
    MKLDNNHardTanh MKLDNNLayerNorm MKLDNNScalarMul mkldnn_convolution ConstantChunk EnumName EnumValue If
    Loop ModuleContainerIndex NumToTensor Print RaiseException StringIndex TupleIndex TupleUnpack
    Uninitialized Constant GetAttr SetAttr ListConstruct ListUnpack TupleConstruct TupleSlice DictConstruct
    CreateObject CallFunction CallMethod HasAttr Return Enter Exit isinstance unchecked_cast
    unchecked_unwrap_optional abs data device dtype grad id index is_cpu is_cuda is_ipu is_maia is_meta
    is_mkldnn is_mps is_mtia is_nested is_quantized is_sparse is_sparse_csr is_vulkan is_xla is_xpu itemsize
    layout max min name nbytes rangelist requires_grad tolist type
"""

PRIM = frozenset(_CONSTRUCTS.split())

_PACKED = "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"
PREPACK = frozenset(
    [f"{name}_prepack" for name in _PACKED.split()]
    + [f"{name}_unpack" for name in _PACKED.split()]
    + ["linear_prepack_fp16", "linear_unpack_fp16", "conv_prepack", "conv_unpack"]
    + ["make_quantized_cell_params_dynamic", "make_quantized_cell_params_fp16", "make_quantized_cell_params"]
)
"""What the modules of torch.ao call to lay out their weights: the only operators that may run on opening."""

_COMPUTING = """
    add add_relu add_scalar add_scalar_relu batch_norm batch_norm1d batch_norm1d_relu batch_norm2d
    batch_norm2d_relu batch_norm3d batch_norm3d_relu batch_norm_relu cat cat_relu celu clamp conv1d_dynamic
    conv1d_relu conv2d_add conv2d_add_relu conv2d_dynamic conv2d_relu conv3d_dynamic conv3d_relu
    conv_transpose1d_dynamic conv_transpose2d_dynamic conv_transpose3d_dynamic dropout elu group_norm
    hardswish instance_norm layer_norm leaky_relu linear_dynamic linear_dynamic_fp16 linear_leaky_relu
    linear_relu linear_relu_dynamic linear_relu_dynamic_fp16 linear_tanh matmul max_pool1d max_pool2d mul
    mul_relu mul_scalar mul_scalar_relu prelu quantized_gru_cell_dynamic quantized_lstm_cell_dynamic
    quantized_rnn_relu_cell_dynamic quantized_rnn_tanh_cell_dynamic relu6 sigmoid softmax threshold
"""

QUANTIZED = PREPACK | frozenset(_PACKED.split()) | frozenset(_COMPUTING.split())

DECOMPOSED = frozenset(
    f"{verb}_per_{what}"
    for verb in ("quantize", "dequantize")
    for what in ("tensor", "channel", "token", "channel_group")
) | {"choose_qparams", "choose_qparams_symmetric"}

HIGHER_ORDER = frozenset({"cond", "wrap_with_set_grad_enabled", "wrap_with_autocast"})

PROFILER = frozenset({"_record_function_enter", "_record_function_enter_new", "_record_function_exit"})

ALLOWED = {
    "aten": ATEN,
    "prim": PRIM,
    "quantized": QUANTIZED,
    "quantized_decomposed": DECOMPOSED,
    "higher_order": HIGHER_ORDER,
    "profiler": PROFILER,
}


def allowed(namespace: str, name: str) -> bool:
    """Whether the operator `namespace::name` (without its overload) may be called without `--trust`."""
    names = ALLOWED.get(namespace, frozenset())
    return name in names or (not name.endswith("__") and name.endswith("_") and name[:-1] in names)
