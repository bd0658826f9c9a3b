"""Exported generators: scored like the module they came from, and refused if they hold more than a plain network."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.errors import UserError
from benchmarks.external.archive import check_archive
from benchmarks.external.generators import of_generator
from benchmarks.records.paths import PICTURES
from benchmarks.scoring.bench import Bench
from tests.conftest import run
from tests.external.fakes import TINY, Decoder, bench, exported, rewritten
from tests.records.fakes import Canary


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("archive") / "g.pt2")


@pytest.fixture(scope="module")
def tiny() -> Bench:
    return bench()


def test_an_exported_generator_decodes_as_its_module(tiny: Bench, tmp_path: Path) -> None:
    network = Decoder()
    subject, form, sha256, dim = of_generator(exported(tmp_path / "g.pt2", network), tiny.data)
    assert (form.layout, form.bounds, dim, len(sha256)) == ("NCHW", (0, 1), 2, 64)
    for n in (1, 2, 7):
        z = torch.randn(n, 2)
        torch.testing.assert_close(subject.decode(z), network.decode(z))  # type: ignore[attr-defined]
    z = torch.randn(3, 2, requires_grad=True)
    subject.decode(z).sum().backward()  # type: ignore[attr-defined]
    assert z.grad is not None
    assert z.grad.abs().sum() > 0


def test_a_generator_is_scored_if_its_user_vouches_for_it(archive: Path, tmp_path: Path) -> None:
    words = (f"generator={archive}", "datamodule=digits", "name=mine", "trust=true", "latent_dim=2")
    result = run("evaluate", *TINY, *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "a generator was submitted, and no encoder" in result.stdout
    assert "fid" in result.stdout
    (path,) = (tmp_path / "runs" / "digits" / "mine").glob("*/seed=0")
    kinds = ("samples", "interpolations", "traversals", "nearest images", "training neighbours")
    assert {picture.name for picture in path.glob("*.png")} == {PICTURES[kind] for kind in kinds}
    again = run("replay", f"runs={path}", f"generator={archive}", "trust=true", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "scores are bit-identical" in again.stdout


def changed_json(part: str, change: Callable[[Any], None]) -> Callable[[str, bytes], bytes]:
    def rewrite(name: str, content: bytes) -> bytes:
        if name != part:
            return content
        value = json.loads(content)
        change(value)
        return json.dumps(value).encode()

    return rewrite


def pickled(config: Any) -> None:
    next(iter(config["config"].values()))["use_pickle"] = True


def target(word: str) -> Callable[[Any], None]:
    def change(program: Any) -> None:
        program["graph_module"]["graph"]["nodes"][0]["target"] = word

    return change


def guards(program: Any) -> None:
    program["guards_code"] = ["__import__('os').system('x')"]


def name(program: Any) -> None:
    program["graph_module"]["graph"]["nodes"][0]["name"] = "x): __import__('os').system('x') #"


def expression(text: str) -> Callable[[Any], None]:
    def change(program: Any) -> None:
        sizes = program["graph_module"]["graph"]["tensor_values"]
        symbolic = next(size for value in sizes.values() for size in value["sizes"] if "as_expr" in size)
        symbolic["as_expr"]["expr_str"] = text

    return change


MODEL, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        (WEIGHTS, pickled, "holds a pickled tensor"),
        (MODEL, target("torch.hub.load"), "calls 'torch.hub.load'"),
        (MODEL, target("torch.ops.mine.run.default"), "only torch.ops.aten"),
        (MODEL, target("_operator.attrgetter"), "calls '_operator.attrgetter'"),
        (MODEL, guards, "holds guards"),
        (MODEL, name, "is no identifier"),
        (MODEL, expression("__import__('os').system('x')"), "which torch would evaluate"),
        (MODEL, expression("exec('x')"), "which torch would evaluate"),
    ],
)
def test_what_could_run_code_is_refused(
    part: str, change: Callable[[Any], None], said: str, archive: Path, tmp_path: Path
) -> None:
    path = rewritten(archive, tmp_path / "bad.pt2", changed_json(part, change))
    with pytest.raises(UserError, match=said) as error:
        check_archive(path, path.read_bytes())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "member", ["data/constants/custom_obj_0", "data/constants/opaque_obj_0", "data/aotinductor/model/x.so", "../x"]
)
def test_other_members_are_refused(member: str, archive: Path, tmp_path: Path) -> None:
    path = rewritten(archive, tmp_path / "bad.pt2", lambda _, content: content, {member: b"x"})
    with pytest.raises(UserError, match="only the graph and the plain tensors of a network are taken"):
        check_archive(path, path.read_bytes())


def test_a_pickled_class_in_the_example_inputs_is_never_made(archive: Path, tmp_path: Path, tiny: Bench) -> None:
    out = io.BytesIO()
    torch.save(((Canary(tmp_path / "touched"),), {}), out)
    inputs = out.getvalue()
    path = rewritten(
        archive, tmp_path / "bad.pt2", lambda name, content: inputs if name.endswith("inputs/model.pt") else content
    )
    with pytest.raises(UserError, match="example inputs that only pickle could read"):
        of_generator(path, tiny.data)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("kind", ["text", "cut", "compressed", "link"])
def test_other_files_are_one_line(kind: str, archive: Path, tmp_path: Path, tiny: Bench) -> None:
    path, content = tmp_path / "bad.pt2", archive.read_bytes()
    match kind:
        case "text":
            path.write_text("text")
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "compressed":
            with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
                for entry in old.namelist():
                    new.writestr(entry, old.read(entry))
        case "link":
            path.symlink_to(archive)
    with pytest.raises(UserError) as error:
        of_generator(path, tiny.data)
    assert "\n" not in str(error.value)
    assert "bad.pt2" in str(error.value)


class Flat(Decoder):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z).flatten(1)


class Two(nn.Module):
    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z, z


class Wide(nn.Module):
    """Latents as those of many convolutional generators, (B, Z, 1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 64, 1)

    def forward(self, z: Tensor) -> Tensor:
        return self.layer(z).sigmoid().view(-1, 1, 8, 8)


@pytest.mark.parametrize(
    ("network", "example"),
    [
        (Decoder(), torch.randn(3, 2)),
        (Decoder(), torch.randn(1, 2)),
        (Decoder().half(), torch.randn(3, 2).half()),
        (Wide(), torch.randn(3, 2, 1, 1)),
    ],
)
def test_a_fixed_batch_other_latents_and_half_precision_are_taken(
    network: nn.Module, example: Tensor, tiny: Bench, tmp_path: Path
) -> None:
    """`torch.export.export(network, (z,))` fixes the size of the batch."""
    torch.export.save(torch.export.export(network, (example,)), tmp_path / "g.pt2")
    subject, _, _, dim = of_generator(tmp_path / "g.pt2", tiny.data)
    z = torch.randn(7, 2)
    expected = torch.cat([network(row.to(example.dtype).view(1, *example.shape[1:])) for row in z]).float()
    torch.testing.assert_close(subject.decode(z), expected, atol=2e-3, rtol=0)  # type: ignore[attr-defined]
    assert dim == 2


@pytest.mark.parametrize(
    ("layer", "said"),
    [(nn.Dropout(0.5), "equal latents give other images"), (nn.BatchNorm1d(64), "others of its batch")],
)
def test_a_network_in_training_mode_gets_a_remark(layer: nn.Module, said: str, tiny: Bench, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 64), layer, nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))
    for is_training in (True, False):
        _, form, _, _ = of_generator(exported(tmp_path / "g.pt2", network.train(is_training)), tiny.data)
        assert [said in remark for remark in form.remarks] == [True] * is_training


class Sum(nn.Module):
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return z + y


def test_two_inputs_and_another_device_are_named(archive: Path, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(Sum(), (torch.randn(3, 2), torch.randn(3, 2))), tmp_path / "two.pt2")
    elsewhere = rewritten(
        archive, tmp_path / "gpu.pt2", lambda _, content: content.replace(b'"type": "cpu"', b'"type": "cuda"')
    )
    for path, said in ((tmp_path / "two.pt2", "takes 2 inputs"), (elsewhere, "of the device 'cuda'; move the network")):
        with pytest.raises(UserError, match=said):
            check_archive(path, path.read_bytes())


@pytest.mark.parametrize(
    ("network", "latent_dim", "said"),
    [
        (Flat(), None, "it is flat: reshape it"),
        (Two(), None, "the generator gives a tuple"),
        (Decoder(), 3, "latent_dim is 3, and .* was exported with 2 latents"),
    ],
)
def test_a_network_that_does_not_fit_is_one_line(
    network: nn.Module, latent_dim: int | None, said: str, tiny: Bench, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        of_generator(exported(tmp_path / "g.pt2", network), tiny.data, latent_dim)
