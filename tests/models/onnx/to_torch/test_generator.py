"""Bases that are only ONNX files, held against onnxruntime."""

import copy
import logging
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

from facesmith.config.adapters import LoraSettings
from facesmith.errors import UserError
from facesmith.models.adapters.lora import add_lora, base_hash, merge_lora
from facesmith.models.onnx.clients import spec_for
from facesmith.models.onnx.export import export
from facesmith.models.onnx.export_spec import ExportSpec
from facesmith.models.onnx.fp16 import to_fp16
from facesmith.models.onnx.info import FOREIGN, SwapperInfo
from facesmith.models.onnx.swapper_file import read_info
from facesmith.models.onnx.to_torch.generator import load_generator
from facesmith.models.onnx.to_torch.module import SUPPORTED, OnnxModule
from facesmith.models.onnx.to_torch.reading import read
from facesmith.models.swapper.aad import Aad
from facesmith.models.swapper.generator import AlignedGenerator, ExportWrapper

from ....foreign_swappers import NETS, write_converter, write_foreign
from ....small_swapper import astronaut_face, crops, small_mesh_warp

LORA = LoraSettings(rank=4, alpha=None, dropout=0.0, rslora=False, dora=False, targets=None)


def own_file(folder, client, generator):
    contract = SwapperInfo(
        "arcface_128", generator.size, "arcface_w600k_r50", generator.embedding_size, "ada", "self", "", "key", 1
    )
    spec = ExportSpec(ExportWrapper(generator.eval()), {}, ["output", "mask"], contract.metadata())
    size = 64 if client == "dfm" else None
    spec = spec_for(client, spec, origin=folder / "last.ckpt", size=size, profile=None)
    path = folder / f"{client}.{'dfm' if client == 'dfm' else 'onnx'}"
    export(spec, path, dynamic_batch=client != "hyperswap", hashed=False)
    return path


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Return every kind of file, made when it is first asked for."""
    made = {}

    def give(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            if name in NETS:
                made[name] = write_foreign(folder, name)
            elif name.startswith("aad"):
                torch.manual_seed(0)
                made[name] = own_file(folder, name.split()[1], Aad(64, 512, [4, 6, 8], [8, 6, 4], 1, 2, 32))
            else:
                kind = name.split()
                made[name] = own_file(folder, kind[1], small_mesh_warp())
        return made[name]

    return give


QUICK = [*NETS, "aad facesmith"]
SLOW = ["aad hyperswap", "mesh_warp facesmith", "mesh_warp dfm", "mesh_warp hyperswap"]
KINDS = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def loaded(path, **more):
    kind = FOREIGN.get(path.stem.removesuffix("_adapted"), [None])[0]
    if kind and "converter" in kind.source_encoding:
        more |= {"converter": write_converter(path.parent), "raw_length": 20.0}
    return load_generator(read_info(path, **more))


def fed(base, count=2):
    torch.manual_seed(1)
    target = torch.rand(count, 3, base.size, base.size) * 2 - 1
    if base.info.exported_by_facesmith and base.embedding_size is None:
        target = crops(astronaut_face(base.size)).repeat(count, 1, 1, 1)
    if base.info.photo:
        return target, torch.rand(count, 3, base.info.photo[1], base.info.photo[1]) * 2 - 1
    if base.embedding_size is None:
        return (target,)
    return target, torch.nn.functional.normalize(torch.randn(count, base.embedding_size))


@pytest.mark.parametrize("name", KINDS)
def test_onnx_generator_file_is_read_adapted_and_written_back(files, name, tmp_path, caplog):
    path = files(name)
    with caplog.at_level(logging.INFO):
        base = loaded(path)
    assert "layers can be adapted; as torch it is within" in caplog.text
    before = base_hash(base)
    untouched = base.write_back(base, {})
    assert untouched.SerializeToString() == onnx.load(path).SerializeToString()
    inputs = fed(base)
    with torch.no_grad():
        plain = base(*inputs)

    tuned = copy.deepcopy(base)
    targets = add_lora(tuned, LORA)
    assert set(targets) == set(base.adaptable)
    if name not in NETS:  # what its network's adapters change is known
        assert not any("mesh" in target or "encoder" in target for target in targets)
    output = tuned(*inputs)
    assert torch.equal(output.face, plain.face)
    (output.face.square().mean() + output.mask.square().mean()).backward()
    grads = {key.split(".lora_B")[0]: value.grad for key, value in tuned.named_parameters() if "lora_B" in key}
    assert {key for key, grad in grads.items() if grad is not None and grad.any()} == set(targets)
    assert not any(value.requires_grad for key, value in tuned.named_parameters() if "lora_" not in key)
    with torch.no_grad():
        for key, value in tuned.named_parameters():
            if "lora_B" in key:
                value.normal_(0, 0.02)
    whole = merge_lora(tuned)
    model = base.write_back(whole, {"adapter": "ada-stage"})
    onnx.checker.check_model(model, full_check=True)
    original = onnx.load(path)
    assert [(o.name, o.type) for o in model.graph.output] == [(o.name, o.type) for o in original.graph.output]
    assert {e.key: e.value for e in model.metadata_props} == {
        **{e.key: e.value for e in original.metadata_props},
        "adapter": "ada-stage",
    }
    if name != "uniface":  # it computes weights from weights
        assert list(model.graph.node) == list(original.graph.node)
        assert [e.name for e in model.graph.initializer] == [e.name for e in original.graph.initializer]
    adapted = path.with_name(f"{path.stem}_adapted{path.suffix}")
    onnx.save(model, adapted)
    again = loaded(adapted)
    assert base_hash(base) == before != base_hash(again)
    with torch.no_grad():
        feed = [value[:1] for value in whole._feed(inputs[0], inputs[1] if len(inputs) > 1 else None)]
        named = {key: value.numpy() for key, value in zip(base.graph.inputs, feed, strict=True)}
        theirs = onnxruntime.InferenceSession(adapted).run(None, named)
        ours = whole.graph(*feed)
        moved = (whole(*inputs).face - plain.face).abs().max()
    worst = max(float(np.abs(a - b.numpy()).max()) for a, b in zip(theirs, ours, strict=True))
    print(f"{name}: {len(targets)} layers, merged file against torch {worst:.1e}, moved by {moved:.2f}")
    # the last bits of landmarks move where pixels are sampled
    assert worst <= (1e-4 if "mesh_warp" in name else 1e-5)
    assert moved > 1e-3


@pytest.mark.parametrize(
    "name", ["inswapper", "aad facesmith", pytest.param("mesh_warp facesmith", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_onnx_generator_in_mixed_precision_is_near_full_precision(files, name, half):
    base = loaded(files(name))
    add_lora(base, LORA)
    inputs = fed(base)
    full = base(*inputs).face
    with torch.autocast("cpu", half):
        mixed = base(*inputs).face
    assert mixed.dtype == torch.float32
    assert (mixed - full).abs().mean() < 0.02  # of 2
    mixed.square().mean().backward()
    assert all(value.grad.isfinite().all() for value in base.parameters() if value.requires_grad)


def test_onnx_module_operators_equal_onnx_test_cases():
    """ONNX's own test cases of every operator that is supported: as it says, or refused."""
    right, wrong, refused = set(), [], set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    for case in cases:
        operators = {node.op_type for node in case.model.graph.node}
        if not operators <= set(SUPPORTED) or "empty_set" in case.name:
            continue
        given, wanted = (
            [numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else np.asarray(x) for x in values]
            for values in case.data_sets[0]
        )
        if {each.dtype.name for each in (*given, *wanted)} - {"float32", "float64", "int64", "int32", "bool"}:
            continue
        try:
            made = OnnxModule(read(case.model), case.name)(*(torch.from_numpy(np.array(each)) for each in given))
        except UserError:
            refused |= operators
            continue
        same = len(made) == len(wanted) and all(
            tuple(a.shape) == b.shape and np.allclose(a.numpy(), b, rtol=1e-3, atol=1e-5, equal_nan=True)
            for a, b in zip(made, wanted, strict=True)
        )
        right |= operators if same else set()
        wrong += [] if same else [case.name]
    assert not wrong
    assert set(SUPPORTED) - right == {"LayerNormalization"}  # the standard asks for more of them than torch
    assert refused <= {
        *["AveragePool", "BatchNormalization", "ConvTranspose", "Resize", "Pad", "Dropout", "ArgMax", "MaxPool", "Cast"]
    } | {
        "LayerNormalization",
        "CastLike",
        "Identity",
    }


def layer_file(graph_file, *nodes, name="hyperswap.onnx", weights=None):
    """A hyperswap without a source: nodes from `flat` (N,4) of the target to `told` (N,4), added to it."""
    shape = [1, 3, 256, 256]
    return graph_file(
        name,
        [
            ("Slice", ["target", "begin", "four", "axes"], ["corner"], {}),
            ("ReduceMean", ["corner"], ["flat"], {"axes": [1, 2], "keepdims": 0}),
            *nodes,
            ("ReduceMean", ["told"], ["one"], {"axes": [0, 1], "keepdims": 0}),
            ("Add", ["target", "one"], ["output"], {}),
        ],
        {"target": shape},
        {"output": shape},
        {"begin": np.array([0]), "four": np.array([4]), "axes": np.array([3]), **(weights or {})},
    )


W = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ([("Gemm", ["flat", "w", "b"], ["told"], {"transB": 1})], {"b": W[0]}),
        ([("Gemm", ["flat", "w", "b"], ["told"], {"alpha": 0.3, "beta": 2.0})], {"b": W[:1]}),
        ([("Gemm", ["flat", "w", "flat"], ["told"], {"beta": 0.5})], {}),
        ([("MatMul", ["flat", "w"], ["told"], {})], {}),
        ([("Transpose", ["w"], ["turned"], {}), ("Gemm", ["flat", "turned"], ["told"], {})], {}),
        ([("MatMul", ["flat", "w"], ["half"], {}), ("MatMul", ["half", "w"], ["told"], {})], {}),
    ],
    ids=["turned", "scaled", "added", "plain", "computed", "twice"],
)
def test_write_back_weights_return_to_their_constants(graph_file, nodes, weights):
    path = layer_file(graph_file, *nodes, weights={"w": W, **weights})
    base = load_generator(read_info(path))
    tuned = copy.deepcopy(base)
    (target,) = add_lora(tuned, LORA)
    with torch.no_grad():
        tuned.get_submodule(target).lora_B["default"].weight.normal_(generator=torch.manual_seed(0))
    whole = merge_lora(tuned)
    model = base.write_back(whole, {})
    crop = torch.rand(1, 3, 256, 256)
    theirs = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"target": crop.numpy()})[0]
    with torch.no_grad():
        assert np.abs(theirs - whole(crop).face.numpy()).max() < 1e-5
        assert (whole(crop).face - base(crop).face).abs().max() > 1e-3
    assert all(node.op_type != "Transpose" for node in model.graph.node)


def test_onnx_generator_shared_weight_is_fixed(graph_file, caplog):
    nodes = [
        ("MatMul", ["flat", "w"], ["half"], {}),
        ("MatMul", ["half", "v"], ["more"], {}),
        ("Add", ["more", "w"], ["told"], {}),
    ]
    path = layer_file(graph_file, *nodes, weights={"w": W, "v": W + 1})
    with caplog.at_level(logging.INFO):
        base = load_generator(read_info(path))
    assert base.adaptable == ["graph.more"]
    assert "w is not adapted: is used in several ways" in caplog.text


def test_onnx_module_unsupported_operators_are_named(graph_file):
    nodes = [
        ("Hardmax", ["flat"], ["a"], {}),
        ("MatMul", ["a", "w"], ["b"], {}),
        ("CumSum", ["b", "axis"], ["told"], {}),
    ]
    path = layer_file(graph_file, *nodes, weights={"w": W, "axis": np.array([0])})
    with pytest.raises(UserError) as error:
        load_generator(read_info(path))
    assert str(error.value).startswith(
        f"model.base={path}: cannot be read into torch, these operators are not supported: Hardmax (a), CumSum (told);"
    )


def test_onnx_generator_without_layers_raises(swapper_file):
    with pytest.raises(UserError, match="holds no convolution or linear layer that can be adapted"):
        load_generator(read_info(swapper_file))


def test_write_back_float16_file_stays_float16(files, tmp_path):
    path = tmp_path / "hyperswap.onnx"
    onnx.save(to_fp16(onnx.load(files("hyperswap"))), path)
    base = load_generator(read_info(path))
    tuned = copy.deepcopy(base)
    add_lora(tuned, LORA)
    with torch.no_grad():
        for key, value in tuned.named_parameters():
            if "lora_B" in key:
                value.normal_(0, 0.02)
    model, original = base.write_back(merge_lora(tuned), {}), onnx.load(path)
    types = [[(e.name, e.data_type) for e in each.graph.initializer] for each in (model, original)]
    assert types[0] == types[1]
    assert onnx.TensorProto.FLOAT16 in {kind for _, kind in types[0]}
    crop, source = fed(base, 1)
    feed = {"target": crop.numpy(), "source": source.numpy()}
    theirs = onnxruntime.InferenceSession(model.SerializeToString()).run(["output"], feed)[0]
    with torch.no_grad():
        assert np.abs(theirs - merge_lora(tuned)(crop, source).face.numpy()).max() < 0.02


@pytest.mark.parametrize("name", ["ghost", "blendswap"])
def test_onnx_generator_set_template_equals_aligned_generator(files, name):
    """Faces on another template are swapped as `AlignedGenerator` has them swapped."""
    base = loaded(files(name))
    assert base.template != "arcface_128"
    target, source = fed(base, 1)
    by_hand = AlignedGenerator(copy.deepcopy(base), "arcface_128", base.size, base.size)
    base.set_template("arcface_128")
    assert (base.template, base.composited) == ("arcface_128", False)
    with torch.no_grad():
        wanted = by_hand(target, source)
        if base.info.photo:
            base.set_photo(source)
            source = torch.rand(1, 128)  # whatever the data know of the person
        made = base(target, source)
    assert torch.equal(made.face, wanted.face)
    assert torch.equal(made.mask, wanted.mask)
    assert made.mask.min() == 0 if name == "ghost" else made.mask.min() >= 0
