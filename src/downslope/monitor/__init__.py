"""What is measured while training: records in a file, and an optional TensorBoard sink."""

from .records import RecordWriter, read_records
from .tensorboard import TensorBoard

__all__ = ["RecordWriter", "TensorBoard", "read_records"]
