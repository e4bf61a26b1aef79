"""What is measured while training: records in a file, a monitor for anyone's loop, TensorBoard."""

from .baseline import constant_loss
from .monitor import Monitor
from .plan import BUDGET
from .records import RecordWriter, each, read_records
from .rows import data_event
from .tensorboard import TensorBoard

__all__ = [
    "BUDGET",
    "Monitor",
    "RecordWriter",
    "TensorBoard",
    "constant_loss",
    "data_event",
    "each",
    "read_records",
]
