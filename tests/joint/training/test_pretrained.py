import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import get_model
from torchvision.models.detection import retinanet_resnet50_fpn, retinanet_resnet50_fpn_v2

from unibench.errors import WeightsError
from unibench.joint.layers.resnet_fpn import Backbone, ConvNormAct
from unibench.joint.training import pretrained
from unibench.joint.training.pretrained import start


class Network(nn.Module):
    """A backbone, a tower for each of three anchors, and layers of its own."""

    def __init__(self, name="tiny", channels=8):
        super().__init__()
        self.backbone = Backbone(name, channels=channels)
        self.first = ConvNormAct(channels, 3 * channels, 3, levels=5)
        self.second = ConvNormAct(3 * channels, 3 * channels, 3, levels=5, groups=3)
        self.narrow = nn.Conv2d(channels, 5, 3)
        self.own = nn.Conv2d(channels, 2, 1)
        self.inherits = {
            "first.conv.": "head.classification_head.conv.0.0.",
            "second.conv.": "head.classification_head.conv.1.0.",
            "narrow.": "head.regression_head.conv.0.0.",
        }


def random_like(tensors):
    generator = torch.Generator().manual_seed(7)
    return {name: torch.rand(value.shape, generator=generator) for name, value in tensors.items()}


def detector(network, channels=8):
    """A file in the names of torchvision's RetinaNet."""
    tensors = {f"backbone.{name}": value for name, value in network.backbone.state_dict().items()}
    for head in ("classification_head", "regression_head"):
        for layer in range(4):
            tensors[f"head.{head}.conv.{layer}.0.weight"] = torch.zeros(channels, channels, 3, 3)
            tensors[f"head.{head}.conv.{layer}.0.bias"] = torch.zeros(channels)
    tensors["head.classification_head.cls_logits.weight"] = torch.zeros(9 * 91, channels, 3, 3)
    return random_like({name: value for name, value in tensors.items() if "num_batches" not in name})


def older(tensors):
    """The same in the names of the file that torchvision publishes, which is older than its code."""

    def old(name):
        parts = name.split(".")
        if parts[0] == "backbone" and parts[2] in ("inner_blocks", "layer_blocks"):
            return ".".join([*parts[:4], parts[5]])
        if parts[0] == "head" and parts[2] == "conv":
            return ".".join([*parts[:3], str(2 * int(parts[3])), parts[5]])
        return name

    renamed = {old(name): value for name, value in tensors.items()}
    assert "head.classification_head.conv.6.bias" in renamed
    assert "backbone.fpn.inner_blocks.2.weight" in renamed
    return renamed


def saved(tensors, path):
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
    return path


@pytest.mark.parametrize("age", ["today", "older"])
def test_a_detector_fits_by_name_and_its_towers_are_copied(tmp_path, age):
    network = Network()
    tensors = detector(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}

    report = start(network, saved(tensors if age == "today" else older(tensors), tmp_path / "retinanet.pth"))

    state = network.state_dict()
    backbone = [name for name in state if name.startswith("backbone.") and "num_batches" not in name]
    assert list(report.transferred) == backbone
    assert all(torch.equal(state[name], tensors[name]) for name in backbone)
    assert report.replicated == (
        "first.conv.weight <- 3 x head.classification_head.conv.0.0.weight",
        "second.conv.weight <- 3 x head.classification_head.conv.1.0.weight",
    )
    # Each anchor's tower begins as the detector's: the same map, three times.
    x = torch.rand(1, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    kernels = [tensors[f"head.classification_head.conv.{layer}.0.weight"] for layer in (0, 1)]
    expected = nn.functional.conv2d(nn.functional.conv2d(x, kernels[0], padding=1), kernels[1], padding=1)
    given = network.second.conv(network.first.conv(x))
    torch.testing.assert_close(given, expected.repeat(1, 3, 1, 1))

    assert report.misshapen == (
        "narrow.weight (5, 8, 3, 3) <- (8, 8, 3, 3)",
        "narrow.bias (5,) <- (8,)",
    )
    norms = [name for name in state if ".norms." in name and "num_batches" not in name]
    assert set(report.fresh) == {"own.weight", "own.bias", *norms}
    kept = [*report.fresh, "narrow.weight", "narrow.bias"]
    assert all(torch.equal(state[name], before[name]) for name in kept)
    assert "head.classification_head.cls_logits.weight" in report.left_over
    assert "head.classification_head.conv.0.0.bias" in report.left_over
    assert len(report.left_over) == 1 + 16 - 2  # of sixteen in the towers two were used


@pytest.mark.parametrize(
    ("name", "stem", "left_over"),
    [
        ("resnet18", "", {"fc.weight", "fc.bias"}),
        ("mobilenet_v2", "features.", {"classifier.1.weight", "classifier.1.bias"}),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_an_imagenet_network_fits_the_body(tmp_path, name, stem, left_over, prefix):
    network, theirs = Network(name), random_like(get_model(name, weights=None).state_dict())
    file = {"epoch": 90, "state_dict": {prefix + key: value for key, value in theirs.items()}}

    report = start(network, saved(file, tmp_path / "imagenet.pth"))

    state = network.state_dict()
    body = [key for key in state if key.startswith("backbone.body.") and "num_batches" not in key]
    assert list(report.transferred) == body
    assert all(torch.equal(state[key], theirs[key.replace("backbone.body.", stem)]) for key in body)
    # MobileNet's last convolution lies behind its last stage.
    rest = {key for key in report.left_over if not key.startswith("backbone.body.18.")}
    assert rest == left_over
    assert report.replicated == report.misshapen == ()
    assert {key.split(".")[1] for key in report.fresh if key.startswith("backbone.")} == {"fpn"}


def test_an_earlier_training_fits_whole_or_without_its_embedding_head(tmp_path):
    one, other = Network(), Network()
    names = [name for name in one.state_dict() if not name.startswith("own.")]
    path = saved({name: one.state_dict()[name] for name in names}, tmp_path / "mine.safetensors")
    report = start(other, path)
    assert report.fresh == ("own.weight", "own.bias")
    assert report.misshapen == report.replicated == report.left_over == ()
    assert all(torch.equal(other.state_dict()[name], one.state_dict()[name]) for name in report.transferred)


@pytest.mark.parametrize(
    ("build", "misshapen"),
    [(retinanet_resnet50_fpn, []), (retinanet_resnet50_fpn_v2, ["p6.weight"])],
    ids=["first", "second"],
)
def test_torchvisions_detectors_have_the_names_and_shapes_that_are_expected(build, misshapen):
    """Their own towers are found too. The second one makes P6 of C5, which has 2048 channels."""
    with torch.device("meta"):
        held = {
            name: value.shape
            for name, value in build(weights=None, weights_backbone=None).state_dict().items()
        }
        network = Network("resnet50", channels=256)
    wanted = {
        name: value.shape
        for name, value in network.state_dict().items()
        if name.startswith("backbone.") and not name.endswith("num_batches_tracked")
    }
    assert [name.rpartition("extra_blocks.")[2] for name in wanted if held[name] != wanted[name]] == misshapen
    assert {f"{name}weight" for name in network.inherits.values()} <= held.keys()
    assert held["head.classification_head.conv.0.0.weight"] == (256, 256, 3, 3)


def test_the_report_says_it_in_a_line(tmp_path):
    network = Network()
    path = saved(detector(network), tmp_path / "retinanet.pth")
    report = start(network, path)
    text = str(report)
    total = sum(map(len, (report.transferred, report.replicated, report.fresh, report.misshapen)))
    assert text.startswith(
        f"{path}: {total - len(report.fresh) - 2} of {total} tensors of the network taken over; "
    )
    assert "; 2 replicated: first.conv.weight <- 3 x head.classification_head.conv.0.0.weight, " in text
    assert "; 2 misshapen: narrow.weight (5, 8, 3, 3) <- (8, 8, 3, 3), " in text
    assert "\n" not in text


def test_a_file_of_something_else_is_refused(tmp_path):
    path = saved({"blocks.0.attn.qkv.weight": torch.zeros(2, 2)}, tmp_path / "vit.pth")
    with pytest.raises(
        WeightsError, match=r"none of its 1 tensors fits the network, expected a RetinaNet or ResNet"
    ):
        start(Network(), path)
    with pytest.raises(WeightsError, match="no such file"):
        start(Network(), tmp_path / "absent.pth")


def test_copies_need_a_whole_number_and_a_named_heir():
    value = torch.zeros(4, 2, 3, 3)
    assert pretrained._copies(value, torch.zeros(12, 2, 3, 3), True) == 3
    assert pretrained._copies(value, torch.zeros(12, 2, 3, 3), False) == 0
    assert pretrained._copies(value, torch.zeros(10, 2, 3, 3), True) == 0
    assert pretrained._copies(value, torch.zeros(12, 3, 3, 3), True) == 0
    assert pretrained._copies(torch.tensor(1.0), torch.zeros(3), True) == 0
