"""python -m benchmarks.train_encoder: trains the classifier that gives FID its features."""

import json
import math
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from benchmarks.cli import program
from benchmarks.errors import UserError, one_line, warn
from benchmarks.records.schemas import NAME


@program("train_encoder")
def main(cfg: DictConfig) -> None:
    from benchmarks.encoders.base import FOLDER, own_folder, packaged
    from benchmarks.encoders.fit import Fit, encoder_name, fit_encoder
    from benchmarks.scoring.restore import choose_device, load_data
    from datamodules.contracts import Labelled

    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    for key in ("dim", "width", "epochs"):
        if not isinstance(config[key], int) or not 1 <= config[key] <= 2**16:
            raise UserError(f"{key} is {config[key]!r}; expected a whole number of 1 or more")
    if not 0 < config["lr"] < math.inf:
        raise UserError(f"lr is {config['lr']!r}; expected a number above 0")
    data = load_data(config["datamodule"])
    if not isinstance(data, Labelled):
        raise UserError(
            f"datamodule={data.name} has no classes: choose digits, mnist, fashion_mnist, cifar10, or image_folder with a "
            "sub-folder for each class"
        )
    data.labelled()  # says now if a folder of images has no classes
    name = encoder_name(data.name)
    default = FOLDER if name in packaged() else own_folder()
    out = Path(config["out"]) if config["out"] else default
    check_name(name, out, data.info.id)
    command = " ".join(["python -m benchmarks.train_encoder", *HydraConfig.get().overrides.task])
    settings = Fit(**{key: config[key] for key in ("seed", "dim", "width", "epochs", "lr")})
    device = choose_device(config["accelerator"])
    card = fit_encoder(data, settings, device, out, command)
    print(f"{name}: test accuracy {100 * card['test_accuracy']:.2f}% on {card['test_images']} images")
    if card["test_accuracy"] <= card["largest_class"]:
        warn(
            f"{name} recognises no more than a guess of the most frequent class would ({100 * card['largest_class']:.2f}%): FIDs "
            "of its features say little; train it for more epochs, or on more images"
        )
    print(f"{out / name}.json; runs are scored with it by feature_encoder={name}" if out == default else out / name)


def check_name(name: str, out: Path, data_id: str) -> None:
    """Checks that an encoder may be written under a name: an encoder of other data is not replaced.

    Raises:
        UserError: for a name that is taken, or is no name.
    """
    from benchmarks.encoders.base import BUILT_IN, FOLDER

    other = "choose another name with datamodule.name=NAME"
    if not NAME.fullmatch(name):
        raise UserError(
            f"datamodule.name gives the name {name!r}; expected letters, digits, dots, dashes and underscores"
        )
    if name in BUILT_IN:
        raise UserError(f"{name} is an encoder of genbench; {other}")
    card = out / f"{name}.json"
    if card.is_file():
        try:
            trained_on = json.loads(card.read_text(encoding="utf-8"))["trained_on"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{card} cannot be read ({one_line(error)}); move it away") from error
        if trained_on != data_id:
            if out == FOLDER:
                raise UserError(
                    f"{name} is an encoder of genbench, for other data ({trained_on}, not {data_id}); {other}"
                )
            raise UserError(f"{card} was trained on other data ({trained_on}, not {data_id}); {other}, or move it away")


if __name__ == "__main__":
    main()
