"""Files of networks as no sane program writes them: weights, ONNX graphs, exported programs."""

from __future__ import annotations

import gzip
import json
import random
import struct
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from jobs import SMALL
from odd_media import hurt

DTYPES = ("F32", "F16", "BF16", "I64", "BOOL", "X9", "", 7, None)
SIZES = (0, 1, 4, 8, 10**12, 2**31, 2**63, 2**64, -1, "8", None)
OFFSETS = (0, 16, 128, 2**31, 2**60, 2**64, -1, None)
LOCATIONS = ("/dev/zero", "/etc/passwd", "../../../../../etc/passwd", "weights.bin", "fifo", "")


def weights(folder: Path, draw: random.Random) -> list[str]:
    """Write weights whose headers claim what is not there, or that would run code."""
    path = folder / "odd.weights"
    kind = draw.randrange(4)
    if kind == 0:
        shape = [draw.choice((0, 1, 8, 10**12, 2**63)) for _ in range(2)]
        tensor = {
            "dtype": draw.choice(("F32", "I64", "X9")),
            "shape": shape,
            "data_offsets": [0, draw.choice((0, 16, 2**60))],
        }
        header = json.dumps({"layers.linear1.weight": tensor}).encode()
        path.write_bytes(struct.pack("<Q", draw.choice((len(header), 2**62, 3))) + header + bytes(16))
    elif kind == 1:
        path.write_bytes(b"\x80\x04cos\nsystem\n(S'touch ran-code'\ntR.")
    elif kind == 2:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
            archive.writestr("archive/data/0", bytes(10**6))
            archive.filelist[-1].file_size = draw.choice((10**6, 2**31))
    else:
        path.write_bytes(gzip.compress(bytes(draw.randint(0, 99))))
    return ["distill", "--student", "mlp:widths=4", "--teacher", "mlp:widths=8@odd.weights", *SMALL, "--out", "out"]


def safetensors(folder: Path, draw: random.Random) -> list[str]:
    """Write weights whose header is no JSON, claims shapes, types and places that are not there, or is endless."""
    path = folder / "odd.safetensors"
    kind = draw.randrange(5)
    if kind == 0:
        header = draw.choice(
            (b"{", b"[]", b"null", b"{" * 9_000, b'{"a": 1}', b'{"__metadata__": {"a": [1]}}', b"\xff")
        )
    elif kind == 1:
        header = json.dumps({f"tensor{number}": _entry(draw) for number in range(draw.choice((1, 3, 2_000)))}).encode()
    elif kind == 2:
        same = json.dumps(_entry(draw))
        header = f'{{"layers.linear1.weight": {same}, "layers.linear1.weight": {same}}}'.encode()
    elif kind == 3:
        header = json.dumps(
            {"layers.linear1.weight": {"dtype": "F32", "shape": [8, 4], "data_offsets": [0, 128]}}
        ).encode()
    else:
        header = json.dumps({"../../outside": _entry(draw), "__metadata__": {"format": "x" * 10**6}}).encode()
    claimed = draw.choice((len(header), len(header), len(header), 2**62, 2**64 - 1, 3, 0))
    path.write_bytes(struct.pack("<Q", claimed) + header + bytes(draw.choice((0, 16, 128, 1_000))))
    teacher = draw.choice(("mlp:widths=8@odd.safetensors", "mlp:widths=8@odd.safetensors", "odd"))
    if teacher == "odd":  # as the folder of a saved network
        place = folder / "odd"
        place.mkdir(exist_ok=True)
        path.rename(place / draw.choice(("student.safetensors", "model.safetensors")))
        (place / "model.json").write_text(draw.choice(("{}", "[]", "", '{"format": "limbeck-model", "version": 1}')))
    return ["distill", "--student", "mlp:widths=4", "--teacher", teacher, *SMALL, "--out", "out"]


def _entry(draw: random.Random) -> dict[str, Any]:
    shape = [draw.choice(SIZES) for _ in range(draw.choice((0, 1, 2, 2, 9)))]
    return {"dtype": draw.choice(DTYPES), "shape": shape, "data_offsets": [draw.choice(OFFSETS), draw.choice(OFFSETS)]}


def onnx(folder: Path, draw: random.Random) -> list[str]:
    """Write a graph that is hurt, claims shapes, loops, calls what is unknown, or keeps its weights elsewhere."""
    path = folder / "odd.onnx"
    kind = draw.randrange(6)
    if kind < 2:
        content = graph()
        path.write_bytes(hurt(content, draw) if kind else content[: draw.randint(0, len(content))])
    elif kind == 2:
        path.write_bytes(
            draw.choice((b"", b"\0" * 99, b"\x08\x07" * 9_999, b"PK\x03\x04", b"\x3a\xff\xff\xff\xff\x7f"))
        )
    else:
        path.write_bytes(_odd_graph(kind, draw))
    spec = draw.choice(("onnx:odd.onnx", "onnx:odd.onnx,outputs=probs", "onnx:odd.onnx,logits=y,batch_size=7"))
    if draw.random() < 0.3:
        return ["predict", "odd.onnx", "data.npz"]
    return ["distill", "--student", "mlp:widths=4", "--teacher", spec, *SMALL, "--out", "out"]


@cache
def graph() -> bytes:
    """Return a sound graph: logits of three classes from four features."""
    return _made([4, 3]).SerializeToString()


def _odd_graph(kind: int, draw: random.Random) -> bytes:
    model = _made([draw.choice((4, 0, -1, 2**40)), draw.choice((3, 1, 2**40))])
    if kind == 3:  # weights in another file
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        for key, value in (("location", draw.choice(LOCATIONS)), ("offset", str(draw.choice((0, -1, 2**62)))),
                           ("length", draw.choice(("48", "-1", "9" * 30)))):  # fmt: skip
            tensor.external_data.add(key=key, value=value)
    elif kind == 4:  # operators that nobody knows, or that ask for much
        node = model.graph.node[0]
        node.op_type = draw.choice(("Loop", "PythonOp", "MatMul", "Expand", "Tile", "ConstantOfShape"))
        node.domain = draw.choice(("", "ai.onnx.ml", "com.example"))
    else:  # other types and names of what goes in and out
        model.graph.input[0].type.tensor_type.elem_type = draw.choice((0, 7, 8, 14, 99))
        model.graph.output[0].name = draw.choice(("", "x", "nowhere"))
        model.ir_version = draw.choice((0, 3, 8, 99))
    return bytes(model.SerializeToString())


def _made(shape: list[int]) -> Any:
    import onnx

    kinds = onnx.TensorProto
    weights = onnx.TensorProto(data_type=kinds.FLOAT, dims=shape, name="w", raw_data=struct.pack("<12f", *12 * [0.5]))
    return onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
            "odd",
            [onnx.helper.make_tensor_value_info("x", kinds.FLOAT, ["batch", 4])],
            [onnx.helper.make_tensor_value_info("y", kinds.FLOAT, ["batch", 3])],
            [weights],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=8,
    )


def programs(folder: Path, draw: random.Random) -> list[str]:
    """Write an archive that is nearly a program of torch.export or a skops file, with entries that would run code."""
    scheme, suffix = draw.choice((("export", "pt2"), ("sklearn", "skops")))
    path = folder / f"odd.{suffix}"
    call = {"target": draw.choice(("os.system", "torch.ops.aten.add.Tensor", "builtins.eval")), "expr_str": "exec('1')"}
    schema = {
        "__class__": draw.choice(("function", "system", "Pipeline")),
        "__module__": draw.choice(("os", "sklearn.pipeline")),
        "__loader__": draw.choice(("FunctionNode", "ObjectNode", "x")),
        "content": {"function": "system"},
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps(draw.choice((schema, {}, [], {"__class__": 7}))))
        archive.writestr("odd/models/model.json", json.dumps(draw.choice(({"graph": call}, {}, [[]], "x"))))
        archive.writestr("odd/data.pkl", b"\x80\x04cos\nsystem\n(S'touch ran-code'\ntR.")
        if draw.random() < 0.5:
            archive.writestr(
                draw.choice(("odd/weight_0.pt", "odd/archive_format", "odd/version")), b"\x80\x02cos\nsystem\n."
            )
    content = path.read_bytes()
    path.write_bytes(hurt(content, draw) if draw.random() < 0.3 else content)
    return ["distill", "--student", "mlp:widths=4", "--teacher", f"{scheme}:odd.{suffix}", *SMALL, "--out", "out"]
