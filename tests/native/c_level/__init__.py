"""The exported C library beside C++ with Eigen and an ONNX-to-C generator: `python -m tests.native.c_level`.

Networks are written by hand in `eigen.hpp`; the generator is emx-onnx-cgen (PyPI), in an environment of its
own.
"""
