"""Records of invented runs, which the tests of reports share."""

from pathlib import Path

from benchmarks.records.files import write_text
from benchmarks.records.runs import Score, ScoreSheet, write_record, write_sheet

EVIL = '<script>alert("1")</script>|`*'


def add_run(
    root: Path,
    model: str,
    seed: int,
    scores: dict[str, float | None],
    status: str = "finished",
    protocol_id: str = "p1",
    network: str = "mlp",
    config: str = "c1",
    error: str | None = None,
    beta: float = 1.0,
    datamodule: str = "digits",
) -> Path:
    path = root / datamodule / model.replace("/", "_") / config / f"seed={seed}"
    data = {"name": datamodule, "id": "d1", "sizes": {"test": 450}, "binarize": "none", "dequantize": False}
    names = {"model": model, "network": network, "datamodule": datamodule}
    cost = {"parameters": 10, "train_seconds": 2.0, "images_per_second": 5.0, "peak_memory_bytes": 2**20}
    write_record(
        path,
        {"status": status, "seed": seed, "config_id": config, "names": names, "data": data, "error": error}
        | {"command": f"python -m benchmarks.train model={model} seed={seed}"}
        | {"spent": {"images": 100, "updates": 7}, "cost": cost | {"sampling_images_per_second": 9.0}},
    )
    write_text(path / "config.yaml", f"model: {{beta: {beta}}}\ndatamodule: {{}}\nbudget: {{}}\n")
    if status == "finished":
        write_sheet(path, sheet(scores, protocol_id, f"{datamodule}-cnn"))
    return path


def sheet(scores: dict[str, float | None], protocol_id: str = "p1", encoder: str = "digits-cnn") -> ScoreSheet:
    better = {"fid": False, "elbo": True, "recon_mse": False}
    scored = [
        Score(name, value, "", better[name], 1000, {"encoder": encoder} if name == "fid" else {"reason": EVIL})
        if value is not None
        else Score(name, None, "", better[name], 0, {"reason": "does not bound"})
        for name, value in scores.items()
    ]
    protocol = {"name": "quick", "split": "test", "samples": 1000, "encoder": encoder}
    return ScoreSheet(protocol, protocol_id, "scored", scored)
