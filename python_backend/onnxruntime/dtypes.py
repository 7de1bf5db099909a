"""Which ONNX element types Triton can carry, by the names that ONNX Runtime and config.pbtxt give them."""

INVALID = "TYPE_INVALID"
STRING = "TYPE_STRING"

# bfloat16, complex and the 8- and 4-bit floats are missing on purpose: the C++ backend maps none of them.
_CONFIG_TYPE = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": STRING,
}

SUPPORTED = frozenset(_CONFIG_TYPE.values())


def config_type(onnx_type: str) -> str:
    """The data_type of config.pbtxt for an ONNX Runtime type such as "tensor(float)", INVALID where there is none."""
    return _CONFIG_TYPE.get(onnx_type, INVALID)
