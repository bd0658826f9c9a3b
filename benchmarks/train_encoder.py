"""python -m benchmarks.train_encoder: trains the classifier whose features FID is measured with."""

import hydra
from omegaconf import DictConfig, OmegaConf

from benchmarks.cli import prepare
from benchmarks.errors import UserError, exits_cleanly


@exits_cleanly
def main() -> None:
    prepare("train_encoder")
    _hydra_main()


@hydra.main(config_path="pkg://conf", config_name="train_encoder", version_base="1.3")
@exits_cleanly  # inside Hydra too, which would print a traceback
def _hydra_main(cfg: DictConfig) -> None:
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig

    from benchmarks.encoders.base import FOLDER
    from benchmarks.encoders.fit import Fit, fit_encoder
    from benchmarks.scoring import choose_device, load_data

    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    data = load_data({"datamodule": config["datamodule"]})
    if not hasattr(data, "labelled"):
        raise UserError(
            f"datamodule={data.name} has no classes to tell apart: choose digits, mnist, fashion_mnist or cifar10"
        )
    command = " ".join(["python -m benchmarks.train_encoder", *HydraConfig.get().overrides.task])
    settings = Fit(**{key: config[key] for key in ("seed", "dim", "width", "epochs", "lr")})
    device = choose_device(config["accelerator"])
    card = fit_encoder(data, settings, device, Path(config["out"]) if config["out"] else FOLDER, command)
    print(f"{card['name']}: test accuracy {100 * card['test_accuracy']:.2f}% on {card['test_images']} images")


if __name__ == "__main__":
    main()
