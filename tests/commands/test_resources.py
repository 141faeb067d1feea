"""Threads: who decides, and that torch and ITK obey."""

from __future__ import annotations

import os

import pytest
import SimpleITK as sitk
import torch

from unireg_cli.commands import resources
from unireg_cli.commands.resources import apply_threads, resolve_threads
from unireg_cli.errors import UsageError


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
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
