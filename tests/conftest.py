"""What holds for all tests."""

from __future__ import annotations

import os

import torch

# Two workers share two cores: a second thread each only makes them wait for one another. Tests of
# threads ask for theirs.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start

# Triton's kernels run on CPU tensors here, whether there is a GPU or not, unless that is asked for.
# That they compile for one is tested in a process of its own.
os.environ["TRITON_INTERPRET"] = "0" if os.environ.get("DOWNSLOPE_GPU") == "1" else "1"
