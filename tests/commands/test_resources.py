"""Threads: who decides, and that torch and ITK obey."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import SimpleITK as sitk
import torch

from unireg_cli.commands import resources
from unireg_cli.commands.resources import apply_threads, resolve_threads
from unireg_cli.errors import UsageError


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)


def test_flag_then_omp_then_slurm_then_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "_CGROUP_QUOTA", tmp_path / "none")
    assert resolve_threads(None).count == len(os.sched_getaffinity(0))
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "7")
    assert (resolve_threads(None).count, resolve_threads(None).source) == (7, "SLURM_CPUS_PER_TASK")
    monkeypatch.setenv("OMP_NUM_THREADS", "5,2")
    assert (resolve_threads(None).count, resolve_threads(None).source) == (5, "OMP_NUM_THREADS")
    assert (resolve_threads(3).count, resolve_threads(3).source) == (3, "--threads")


def test_a_container_s_quota_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)))
    monkeypatch.setattr(resources, "_CGROUP_QUOTA", tmp_path / "cpu.max")
    for text, count in (("250000 100000", 3), ("max 100000", 16), ("9900000 100000", 16)):
        (tmp_path / "cpu.max").write_text(text)
        assert resolve_threads(None).count == count


def test_less_than_one_is_refused():
    with pytest.raises(UsageError, match="--threads"):
        resolve_threads(0)


def test_torch_and_itk_obey():
    apply_threads(resolve_threads(1))
    assert torch.get_num_threads() == 1 and sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("passive", "10000")),
        ({"GOMP_SPINCOUNT": "7"}, ("passive", "7")),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, ("PASSIVE", "10000")),
        ({"OMP_WAIT_POLICY": "active"}, ("active", None)),
    ],
)
def test_threads_wait_asleep_unless_the_user_says_otherwise(monkeypatch, given, expected):
    # Set first, so that what the function adds is taken back after the test.
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    resources._wait_asleep()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ.get("GOMP_SPINCOUNT")) == expected


def test_waiting_is_settled_before_torch_is_loaded():
    code = (
        "import os, sys; from unireg_cli.commands.resources import apply_threads, resolve_threads; loaded = 'torch' in sys.modules; "
        "apply_threads(resolve_threads(1)); print(loaded, os.environ['OMP_WAIT_POLICY'], os.environ['GOMP_SPINCOUNT'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "passive", "10000"]
