"""Event files of TensorBoard, read without it."""

import struct

from tensorboardX.proto import event_pb2


def events(folder):
    """The events of all files of a folder, in the order of the files."""
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            found.append(event_pb2.Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found
