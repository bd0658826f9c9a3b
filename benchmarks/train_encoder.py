"""python -m benchmarks.train_encoder: trains the classifier that gives FID its features."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from benchmarks.cli import program
from benchmarks.errors import UserError


@program("train_encoder")
def main(cfg: DictConfig) -> None:
    from benchmarks.encoders.base import FOLDER
    from benchmarks.encoders.fit import Fit, fit_encoder
    from benchmarks.scoring.restore import choose_device, load_data
    from datamodules.contracts import Labelled

    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    data = load_data(config["datamodule"])
    if not isinstance(data, Labelled):
        raise UserError(f"datamodule={data.name} has no classes: choose digits, mnist, fashion_mnist or cifar10")
    command = " ".join(["python -m benchmarks.train_encoder", *HydraConfig.get().overrides.task])
    settings = Fit(**{key: config[key] for key in ("seed", "dim", "width", "epochs", "lr")})
    device = choose_device(config["accelerator"])
    card = fit_encoder(data, settings, device, Path(config["out"]) if config["out"] else FOLDER, command)
    print(f"{card['name']}: test accuracy {100 * card['test_accuracy']:.2f}% on {card['test_images']} images")


if __name__ == "__main__":
    main()
