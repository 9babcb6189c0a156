"""TensorBoard's own writer and reader, for test/node/tensorboard.test.ts.

    event_files.py write FILE    the records that the test compares with, byte by byte
    event_files.py read FOLDER   what a reader finds in a folder, as JSON
"""

import json
import sys
from collections.abc import Callable

from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2
from tensorboard.compat.proto import types_pb2
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_ndarray

Value = summary_pb2.Summary.Value


def text(tag: str, content: str) -> Value:
    shape = tensor_shape_pb2.TensorShapeProto(dim=[{"size": 1}])
    return Value(
        tag=tag,
        tensor=tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING, tensor_shape=shape, string_val=[content.encode()]
        ),
        metadata=summary_pb2.SummaryMetadata(
            plugin_data={"plugin_name": "text"}, data_class=summary_pb2.DATA_CLASS_TENSOR
        ),
    )


def events() -> list[event_pb2.Event]:
    Event, Session = event_pb2.Event, event_pb2.SessionLog
    scalars = [("train/loss", 2.5), ("train/lr", 1e-3), ("grad_norms/net.token_emb", 0.0)]
    values = [Value(tag=tag, simple_value=value) for tag, value in scalars]
    sample = [text("sample", "    caf\u00e9\n    " + 60 * "word ")]
    return [
        Event(wall_time=1700000000.25, file_version="brain.Event:2"),
        Event(wall_time=1700000001, session_log=Session(status=Session.START)),
        Event(wall_time=1700000002.5, step=3, session_log=Session(status=Session.START)),
        Event(wall_time=1700000003, step=300, summary=summary_pb2.Summary(value=values)),
        Event(wall_time=1700000004, step=2**40, summary=summary_pb2.Summary(value=sample)),
    ]


def write(path: str) -> None:
    with open(path, "wb") as file:
        writer = RecordWriter(file)
        for event in events():
            writer.write(event.SerializeToString(deterministic=True))
        writer.close()


def read(folder: str) -> dict:
    # what TensorBoard's pages are made from: old records are purged
    accumulator = plugin_event_accumulator.EventAccumulator(folder, size_guidance={"tensors": 0})
    accumulator.Reload()

    def values(plugin: str, value: Callable) -> dict:
        return {
            tag: [
                [event.step, value(make_ndarray(event.tensor_proto))]
                for event in accumulator.Tensors(tag)
            ]
            for tag in accumulator.PluginTagToContent(plugin)
        }

    return {
        "scalars": values("scalars", float),
        "texts": values("text", lambda array: array.item(0).decode()),
    }


if __name__ == "__main__":
    command, path = sys.argv[1:]
    if command == "write":
        write(path)
    else:
        json.dump(read(path), sys.stdout)
