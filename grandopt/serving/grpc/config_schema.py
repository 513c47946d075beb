"""The messages of a model's configuration, as far as a server without graphs of models can say anything in
them."""

from __future__ import annotations

CONFIG_ENUMERATIONS: dict[str, dict[str, int]] = {
    "DataType": {
        name: number
        for number, name in enumerate(
            (
                *("TYPE_INVALID", "TYPE_BOOL", "TYPE_UINT8", "TYPE_UINT16", "TYPE_UINT32", "TYPE_UINT64"),
                *("TYPE_INT8", "TYPE_INT16", "TYPE_INT32", "TYPE_INT64", "TYPE_FP16", "TYPE_FP32"),
                *("TYPE_FP64", "TYPE_STRING", "TYPE_BF16"),
            )
        )
    },
    "ModelInput.Format": {"FORMAT_NONE": 0, "FORMAT_NHWC": 1, "FORMAT_NCHW": 2},
    "ModelInstanceGroup.Kind": {"KIND_AUTO": 0, "KIND_GPU": 1, "KIND_CPU": 2, "KIND_MODEL": 3},
    "ModelOptimizationPolicy.ModelPriority": {
        "PRIORITY_DEFAULT": 0,
        "PRIORITY_MAX": 1,
        "PRIORITY_MIN": 2,
    },
    "ModelQueuePolicy.TimeoutAction": {"REJECT": 0, "DELAY": 1},
    "ModelSequenceBatching.Control.Kind": {
        "CONTROL_SEQUENCE_START": 0,
        "CONTROL_SEQUENCE_READY": 1,
        "CONTROL_SEQUENCE_END": 2,
        "CONTROL_SEQUENCE_CORRID": 3,
    },
}

CONFIG_LINES: dict[str, str] = {
    "ModelInstanceGroup": (
        "1 name string, 4 kind ModelInstanceGroup.Kind, 2 count int32, 3 gpus int32*, 5 profile string*, "
        "7 passive bool, 9 host_policy string"
    ),
    "ModelTensorReshape": "1 shape int64*",
    "ModelInput": (
        "1 name string, 2 data_type DataType, 3 format ModelInput.Format, 4 dims int64*, "
        "5 reshape ModelTensorReshape, 6 is_shape_tensor bool, 7 allow_ragged_batch bool, 8 optional bool, "
        "9 is_non_linear_format_io bool"
    ),
    "ModelOutput": (
        "1 name string, 2 data_type DataType, 3 dims int64*, 5 reshape ModelTensorReshape, "
        "4 label_filename string, 6 is_shape_tensor bool, 7 is_non_linear_format_io bool"
    ),
    "ModelVersionPolicy.Latest": "1 num_versions uint32",
    "ModelVersionPolicy.All": "",
    "ModelVersionPolicy.Specific": "1 versions int64*",
    "ModelVersionPolicy": (
        "1 latest?policy_choice ModelVersionPolicy.Latest, 2 all?policy_choice ModelVersionPolicy.All, "
        "3 specific?policy_choice ModelVersionPolicy.Specific"
    ),
    "ModelOptimizationPolicy": (
        "2 priority ModelOptimizationPolicy.ModelPriority, 7 gather_kernel_buffer_threshold uint32, "
        "8 eager_batching bool"
    ),
    "ModelQueuePolicy": (
        "1 timeout_action ModelQueuePolicy.TimeoutAction, 2 default_timeout_microseconds uint64, "
        "3 allow_timeout_override bool, 4 max_queue_size uint32"
    ),
    "ModelDynamicBatching": (
        "1 preferred_batch_size int32*, 2 max_queue_delay_microseconds uint64, 3 preserve_ordering bool, "
        "4 priority_levels uint64, 5 default_priority_level uint64, "
        "6 default_queue_policy ModelQueuePolicy, 7 priority_queue_policy {uint64: ModelQueuePolicy}"
    ),
    "ModelSequenceBatching.Control": (
        "1 kind ModelSequenceBatching.Control.Kind, 2 int32_false_true int32*, 3 fp32_false_true float*, "
        "5 bool_false_true bool*, 4 data_type DataType"
    ),
    "ModelSequenceBatching.ControlInput": "1 name string, 2 control ModelSequenceBatching.Control*",
    "ModelSequenceBatching.InitialState": (
        "1 data_type DataType, 2 dims int64*, 3 zero_data?state_data bool, 4 data_file?state_data string, "
        "5 name string"
    ),
    "ModelSequenceBatching.State": (
        "1 input_name string, 2 output_name string, 3 data_type DataType, 4 dims int64*, "
        "5 initial_state ModelSequenceBatching.InitialState*, 6 use_same_buffer_for_input_output bool, "
        "7 use_growable_memory bool"
    ),
    "ModelSequenceBatching.StrategyDirect": (
        "1 max_queue_delay_microseconds uint64, 2 minimum_slot_utilization float"
    ),
    "ModelSequenceBatching.StrategyOldest": (
        "1 max_candidate_sequences int32, 2 preferred_batch_size int32*, "
        "3 max_queue_delay_microseconds uint64, 4 preserve_ordering bool"
    ),
    "ModelSequenceBatching": (
        "3 direct?strategy_choice ModelSequenceBatching.StrategyDirect, "
        "4 oldest?strategy_choice ModelSequenceBatching.StrategyOldest, "
        "1 max_sequence_idle_microseconds uint64, 2 control_input ModelSequenceBatching.ControlInput*, "
        "5 state ModelSequenceBatching.State*, 6 iterative_sequence bool"
    ),
    "ModelParameter": "1 string_value string",
    "ModelTransactionPolicy": "1 decoupled bool",
    "ModelResponseCache": "1 enable bool",
    "ModelConfig": (
        "1 name string, 2 platform string, 17 backend string, 25 runtime string, "
        "3 version_policy ModelVersionPolicy, 4 max_batch_size int32, 5 input ModelInput*, "
        "6 output ModelOutput*, 12 optimization ModelOptimizationPolicy, "
        "11 dynamic_batching?scheduling_choice ModelDynamicBatching, "
        "13 sequence_batching?scheduling_choice ModelSequenceBatching, "
        "7 instance_group ModelInstanceGroup*, 8 default_model_filename string, "
        "9 cc_model_filenames {string: string}, 10 metric_tags {string: string}, "
        "14 parameters {string: ModelParameter}, 19 model_transaction_policy ModelTransactionPolicy, "
        "24 response_cache ModelResponseCache"
    ),
}
