"""The messages and calls of `inference.GRPCInferenceService`."""

from __future__ import annotations

from grandopt.serving.grpc.config_schema import CONFIG_ENUMERATIONS, CONFIG_LINES
from grandopt.serving.grpc.schema import Call, Schema

_NAMED = "1 name string"
_OF_MODEL = "1 name string, 2 version string"
_TENSOR = (
    "1 name string, 2 datatype string, 3 shape int64*, 4 parameters {string: InferParameter}, "
    "5 contents InferTensorContents"
)
_SETTINGS = "1 settings {string: %s.SettingValue}"
_LOG_VALUE = (
    "1 bool_param?parameter_choice bool, 2 uint32_param?parameter_choice uint32, "
    "3 string_param?parameter_choice string"
)
_ON_MODEL = "1 repository_name string, 2 model_name string, 3 parameters {string: ModelRepositoryParameter}"
_SUMS = "1 compute_infer StatisticDuration, 2 compute_output StatisticDuration, "

LINES = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "1 live bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "1 ready bool",
    "ModelReadyRequest": _OF_MODEL,
    "ModelReadyResponse": "1 ready bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "1 name string, 2 version string, 3 extensions string*",
    "ModelMetadataRequest": _OF_MODEL,
    "ModelMetadataResponse.TensorMetadata": "1 name string, 2 datatype string, 3 shape int64*",
    "ModelMetadataResponse": (
        "1 name string, 2 versions string*, 3 platform string, "
        "4 inputs ModelMetadataResponse.TensorMetadata*, 5 outputs ModelMetadataResponse.TensorMetadata*"
    ),
    "InferParameter": (
        "1 bool_param?parameter_choice bool, 2 int64_param?parameter_choice int64, "
        "3 string_param?parameter_choice string, 4 double_param?parameter_choice double, "
        "5 uint64_param?parameter_choice uint64"
    ),
    "InferTensorContents": (
        "1 bool_contents bool*, 2 int_contents int32*, 3 int64_contents int64*, 4 uint_contents uint32*, "
        "5 uint64_contents uint64*, 6 fp32_contents float*, 7 fp64_contents double*, 8 bytes_contents bytes*"
    ),
    "ModelInferRequest.InferInputTensor": _TENSOR,
    "ModelInferRequest.InferRequestedOutputTensor": ("1 name string, 2 parameters {string: InferParameter}"),
    "ModelInferRequest": (
        "1 model_name string, 2 model_version string, 3 id string, 4 parameters {string: InferParameter}, "
        "5 inputs ModelInferRequest.InferInputTensor*, "
        "6 outputs ModelInferRequest.InferRequestedOutputTensor*, 7 raw_input_contents bytes*"
    ),
    "ModelInferResponse.InferOutputTensor": _TENSOR,
    "ModelInferResponse": (
        "1 model_name string, 2 model_version string, 3 id string, 4 parameters {string: InferParameter}, "
        "5 outputs ModelInferResponse.InferOutputTensor*, 6 raw_output_contents bytes*"
    ),
    "ModelStreamInferResponse": "1 error_message string, 2 infer_response ModelInferResponse",
    "ModelConfigRequest": _OF_MODEL,
    "ModelConfigResponse": "1 config ModelConfig",
    "ModelStatisticsRequest": _OF_MODEL,
    "StatisticDuration": "1 count uint64, 2 ns uint64",
    "InferStatistics": (
        "1 success StatisticDuration, 2 fail StatisticDuration, 3 queue StatisticDuration, "
        "4 compute_input StatisticDuration, 5 compute_infer StatisticDuration, "
        "6 compute_output StatisticDuration, 7 cache_hit StatisticDuration, 8 cache_miss StatisticDuration"
    ),
    "InferResponseStatistics": _SUMS
    + (
        "3 success StatisticDuration, 4 fail StatisticDuration, 5 empty_response StatisticDuration, "
        "6 cancel StatisticDuration"
    ),
    "InferBatchStatistics": (
        "1 batch_size uint64, 2 compute_input StatisticDuration, 3 compute_infer StatisticDuration, "
        "4 compute_output StatisticDuration"
    ),
    "MemoryUsage": "1 type string, 2 id int64, 3 byte_size uint64",
    "ModelStatistics": (
        "1 name string, 2 version string, 3 last_inference uint64, 4 inference_count uint64, "
        "5 execution_count uint64, 6 inference_stats InferStatistics, 7 batch_stats InferBatchStatistics*, "
        "8 memory_usage MemoryUsage*, 9 response_stats {string: InferResponseStatistics}"
    ),
    "ModelStatisticsResponse": "1 model_stats ModelStatistics*",
    "ModelRepositoryParameter": (
        "1 bool_param?parameter_choice bool, 2 int64_param?parameter_choice int64, "
        "3 string_param?parameter_choice string, 4 bytes_param?parameter_choice bytes"
    ),
    "RepositoryIndexRequest": "1 repository_name string, 2 ready bool",
    "RepositoryIndexResponse.ModelIndex": "1 name string, 2 version string, 3 state string, 4 reason string",
    "RepositoryIndexResponse": "1 models RepositoryIndexResponse.ModelIndex*",
    "RepositoryModelLoadRequest": _ON_MODEL,
    "RepositoryModelLoadResponse": "",
    "RepositoryModelUnloadRequest": _ON_MODEL,
    "RepositoryModelUnloadResponse": "",
    "SystemSharedMemoryStatusRequest": _NAMED,
    "SystemSharedMemoryStatusResponse.RegionStatus": (
        "1 name string, 2 key string, 3 offset uint64, 4 byte_size uint64"
    ),
    "SystemSharedMemoryStatusResponse": "1 regions {string: SystemSharedMemoryStatusResponse.RegionStatus}",
    "SystemSharedMemoryRegisterRequest": "1 name string, 2 key string, 3 offset uint64, 4 byte_size uint64",
    "SystemSharedMemoryRegisterResponse": "",
    "SystemSharedMemoryUnregisterRequest": _NAMED,
    "SystemSharedMemoryUnregisterResponse": "",
    "CudaSharedMemoryStatusRequest": _NAMED,
    "CudaSharedMemoryStatusResponse.RegionStatus": "1 name string, 2 device_id uint64, 3 byte_size uint64",
    "CudaSharedMemoryStatusResponse": "1 regions {string: CudaSharedMemoryStatusResponse.RegionStatus}",
    "CudaSharedMemoryRegisterRequest": (
        "1 name string, 2 raw_handle bytes, 3 device_id int64, 4 byte_size uint64"
    ),
    "CudaSharedMemoryRegisterResponse": "",
    "CudaSharedMemoryUnregisterRequest": _NAMED,
    "CudaSharedMemoryUnregisterResponse": "",
    "TraceSettingRequest.SettingValue": "1 value string*",
    "TraceSettingRequest": _SETTINGS % "TraceSettingRequest" + ", 2 model_name string",
    "TraceSettingResponse.SettingValue": "1 value string*",
    "TraceSettingResponse": _SETTINGS % "TraceSettingResponse",
    "LogSettingsRequest.SettingValue": _LOG_VALUE,
    "LogSettingsRequest": _SETTINGS % "LogSettingsRequest",
    "LogSettingsResponse.SettingValue": _LOG_VALUE,
    "LogSettingsResponse": _SETTINGS % "LogSettingsResponse",
}

NAMES = (
    *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"),
    *("ModelConfig", "ModelStatistics", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
    *("SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "SystemSharedMemoryUnregister"),
    *("CudaSharedMemoryStatus", "CudaSharedMemoryRegister", "CudaSharedMemoryUnregister"),
    *("TraceSetting", "LogSettings"),
)
"""All calls of one request and one response."""

INFERENCE = Schema(
    file="grpc_service.proto",
    package="inference",
    lines={**LINES, **CONFIG_LINES},
    enumerations=CONFIG_ENUMERATIONS,
    service="GRPCInferenceService",
    calls=(
        *(Call(name, f"{name}Request", f"{name}Response") for name in NAMES),
        Call("ModelStreamInfer", "ModelInferRequest", "ModelStreamInferResponse", True, True),
    ),
)
