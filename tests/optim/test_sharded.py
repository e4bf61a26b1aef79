"""DTensors: two processes with a shard each move as one process with the whole."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed"),
]

WORKER = Path(__file__).with_name("sharded_worker.py")
CLAIMS = (
    "moves_as_one_process",
    "state_is_sharded_and_loads_into_torch",
    "partial_gradients_are_summed",
    "plain_gradient_is_refused",
    "distributed_checkpoint_round_trips",
    "compact_state_is_sharded_and_round_trips",
    "sums_over_the_whole_tensor",
    "clips_by_the_norm_over_all_shards",
    "data_parallel_with_sharded_state",
    "clips_by_the_norm_over_all_ranks",
    "clips_values_and_units",
    "a_nan_on_one_rank_stops_all",
)


@pytest.fixture(scope="module")
def claims(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What two processes found, by claim: empty if it holds."""
    folder = tmp_path_factory.mktemp("sharded")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    root = str(Path(__file__).parents[2])
    processes = []
    for rank in range(2):
        rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
        path = os.pathsep.join([str(Path(root) / "src"), root])
        env = {**os.environ, **rendezvous, "RANK": str(rank), "PYTHONPATH": path}
        command = [sys.executable, "-m", "tests.optim.sharded_worker", str(folder)]
        processes.append(subprocess.Popen(command, env=env, cwd=root))
    for process in processes:
        process.wait(timeout=240)
    found = {}
    for claim in CLAIMS:
        said = [folder / f"{claim}-{rank}.txt" for rank in range(2)]
        found[claim] = "".join(s.read_text() if s.exists() else f"{s} missing" for s in said)
    return found


@pytest.mark.parametrize("claim", CLAIMS)
def test_two_processes(claims: dict[str, str], claim: str) -> None:
    """Each claim of ``sharded_worker.py`` holds on both ranks."""
    assert claims[claim] == ""
