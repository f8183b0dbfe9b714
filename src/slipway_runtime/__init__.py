"""What this image is: the versions of its parts, as `python -m slipway_runtime` prints them."""

import ctypes
import platform
from importlib import import_module


def cuda_version():
    """The version of the CUDA runtime library, such as "12.9", or None where the image has none.

    Asks the library itself, which answers without a GPU or a driver. The number is
    1000 * major + 10 * minor (CUDA Runtime API, "Version Management").
    """
    try:
        library = ctypes.CDLL("libcudart.so.12")
    except OSError:
        return None
    number = ctypes.c_int()
    status = library.cudaRuntimeGetVersion(ctypes.byref(number))
    if status != 0:
        raise RuntimeError(f"cudaRuntimeGetVersion failed with status {status}")
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def describe():
    """The facts about this image as a dictionary of strings; "cuda" is None in a cpu image."""
    cuda = cuda_version()
    return {
        "runtime": "cpu" if cuda is None else "cuda",
        "python": platform.python_version(),
        "numpy": import_module("numpy").__version__,
        "cuda": cuda,
        "machine": platform.machine(),
    }
