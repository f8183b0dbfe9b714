"""Runs inside a finished image, as its user, and looks only at what the image ships.

The two expectations come from the plan (`env` of the test in docker/images.toml), never from the image itself.
"""

import ctypes
import importlib.util
import json
import os
import platform
import stat
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

import slipway_runtime

RUNTIME = os.environ["EXPECT_RUNTIME"]
PYTHON = os.environ["EXPECT_PYTHON"]
LISTS = Path("/opt/slipway/requirements")

only_cuda = pytest.mark.skipif(RUNTIME != "cuda", reason="a cuda image's test")
only_cpu = pytest.mark.skipif(RUNTIME != "cpu", reason="a cpu image's test")


def python(*arguments):
    """The stdout of this image's interpreter, called anew; its stderr is shown when it fails."""
    return subprocess.check_output([sys.executable, *arguments], universal_newlines=True)


def test_python_is_the_one_asked_for():
    assert ".".join(platform.python_version_tuple()[:2]) == PYTHON


def test_numpy_comes_from_the_image_and_computes():
    assert numpy.__file__.startswith(sys.prefix), "numpy is not the image's own"
    matrix = numpy.array([[2.0, 1.0], [1.0, 3.0]])
    numpy.testing.assert_allclose(numpy.linalg.inv(matrix) @ matrix, numpy.eye(2), atol=1e-12)


def test_numpy_is_the_pinned_one():
    pins = (LISTS / "base.txt").read_text()
    assert f"numpy=={numpy.__version__};" in pins


def test_info_command_tells_the_truth():
    info = json.loads(python("-m", "slipway_runtime"))
    assert info["runtime"] == RUNTIME
    assert info["python"] == platform.python_version()
    assert info["numpy"] == numpy.__version__


@only_cuda
def test_cuda_runtime_answers():
    number = ctypes.c_int()
    assert ctypes.CDLL("libcudart.so.12").cudaRuntimeGetVersion(ctypes.byref(number)) == 0
    assert 12000 <= number.value < 13000
    assert slipway_runtime.cuda_version() == f"{number.value // 1000}.{number.value % 1000 // 10}"


@only_cpu
def test_cuda_is_absent():
    with pytest.raises(OSError):
        ctypes.CDLL("libcudart.so.12")
    assert importlib.util.find_spec("nvidia") is None
    assert not (LISTS / "cuda.txt").exists()


def test_packages_agree_with_each_other():
    python("-m", "pip", "check", "--disable-pip-version-check")


def test_user_is_not_root_and_has_a_home():
    assert (os.getuid(), os.getgid()) == (10001, 10001)
    assert os.access(str(Path.home()), os.W_OK)


def test_user_cannot_change_what_the_image_ships():
    shipped = [slipway_runtime.__file__, numpy.__file__, sys.executable, str(LISTS)]
    assert [path for path in shipped if os.access(path, os.W_OK)] == []


def test_nothing_is_world_writable():
    """Sticky directories such as /tmp are meant to be; mounts are not the image's."""
    device = os.stat("/").st_dev
    found = []
    for top, directories, files in os.walk("/"):
        directories[:] = [name for name in directories if on_device(os.path.join(top, name), device)]
        for path in [os.path.join(top, name) for name in directories + files]:
            mode = os.lstat(path).st_mode
            if mode & stat.S_IWOTH and not stat.S_ISLNK(mode) and not mode & stat.S_ISVTX:
                found.append(path)
    assert found == []


def on_device(path, device):
    try:
        return os.lstat(path).st_dev == device
    except OSError:
        return False
