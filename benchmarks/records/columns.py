"""The columns of genbench's own metrics: the one place for names, titles, units, directions and parts of the page."""

from typing import NamedTuple

OTHER = "Other scores"
# columns of features are measured under a second encoder too
SECOND = "Second encoder"
SECOND_SUFFIX = "_random"
COST = "Cost"


class Column(NamedTuple):
    """The facts of a column, known before anything is measured.

    Args:
        name: of the score in a record.
        unit: of its numbers; empty for none.
        higher_is_better: None if neither direction is better.
        title: the words of a table's header; the name with spaces if empty.
        part: of the table that the column stands in.
        metric: the metric that the column comes from, as conf/metric names it; "cost" for the cost of a run.
    """

    name: str
    unit: str
    higher_is_better: bool | None
    title: str = ""
    part: str = OTHER
    metric: str = ""

    @property
    def heading(self) -> str:
        return self.title or self.name.replace("_", " ")


def under_second(column: Column) -> Column:
    """The column of the same score under a protocol's second encoder."""
    return column._replace(name=column.name + SECOND_SUFFIX, title=column.heading, part=SECOND)


def _part(part: str, *columns: tuple[str, str, str, bool | None, str]) -> list[Column]:
    return [Column(name, unit, higher, title, part, metric) for metric, name, unit, higher, title in columns]


# the metrics that compare features
OF_FEATURES = frozenset(
    {"fid", "kid", "mind", "neighbours", "memorisation", "fitted_fid", "reconstruction_fid", "interpolation_fid"}
)

# in the order of the page: metric, name, unit, whether higher is better, title
_FIRST: tuple[Column, ...] = (
    *_part(
        "Samples",
        ("fid", "fid", "", False, "FID"),
        ("fid", "fid_infinity", "", False, "FID∞"),
        ("kid", "kid", "", False, "KID"),
        ("mind", "mind", "", False, "MIND"),
        ("neighbours", "precision", "", True, ""),
        ("neighbours", "recall", "", True, ""),
        ("neighbours", "density", "", True, ""),
        ("neighbours", "coverage", "", True, ""),
        ("modes", "modes", "", True, ""),
        ("modes", "high_quality", "%", True, "high quality"),
        ("modes", "mode_kl", "nats", False, "mode KL"),
        ("known_truth", "wasserstein2", "", False, "W₂"),
        ("known_truth", "sample_log_density", "nats", True, "log p of samples"),
    ),
    *_part(
        "Memorisation",
        ("memorisation", "copied_share", "", False, "share of near copies"),
        ("memorisation", "authenticity", "", True, ""),
        # 0 is best: below, samples copy; above, samples are too far from the data
        ("memorisation", "c_t", "", None, "C_T"),
    ),
    *_part(
        "Likelihood",
        ("bound", "elbo", "nats", True, "ELBO"),
        ("bound", "elbo_reconstruction", "nats", True, "E log p(x|z)"),
        ("bound", "elbo_kl", "nats", None, "KL"),
        ("iwae", "iwae", "nats", True, "IWAE"),
        ("bound", "log_density", "nats", True, "log p(x)"),
        ("ais", "ais", "nats", True, "AIS"),
        # the next ones are about the estimate, so no direction is a merit of the model
        ("ais", "ais_quarter", "nats", None, "AIS, quarter"),
        ("ais", "ais_rise", "nats", None, "AIS rise"),
        ("ais", "ais_gap", "nats", None, "AIS gap, simulated"),
        ("ais", "ais_gap_real", "nats", None, "AIS gap, real"),
        ("ais", "ais_sigma", "", None, "AIS σ"),
        ("bound", "elbo_bits_per_dim", "bits/dim", False, "ELBO"),
        ("bound", "density_bits_per_dim", "bits/dim", False, "log p(x)"),
        ("ais", "bits_per_dim", "bits/dim", False, "AIS"),
    ),
    *_part(
        "Reconstruction",
        ("reconstruction", "recon_mse", "", False, "MSE"),
        ("reconstruction", "recon_psnr", "dB", True, "PSNR"),
        ("reconstruction", "recon_ssim", "", True, "SSIM"),
        ("lpips", "recon_lpips", "", False, "LPIPS"),
        ("inversion", "inversion_mse", "", False, "inversion MSE"),
        # of the search, not of the model: the error where an exact latent exists, and how far the search went
        ("inversion", "inversion_floor", "", None, "inversion floor"),
        ("inversion", "inversion_norm", "", None, "‖z‖ found / drawn"),
        ("inversion", "inversion_psnr", "dB", True, "inversion PSNR"),
        ("inversion", "inversion_ssim", "", True, "inversion SSIM"),
    ),
    *_part(
        "The detour",
        ("fitted_fid", "fid_fitted", "", False, "FID, fitted mixture"),
        ("fitted_fid", "fid_fitted_gaussian", "", False, "FID, fitted Gaussian"),
        ("reconstruction_fid", "reconstruction_fid", "", False, "FID, reconstructions"),
        ("fitted_fid", "moments_share", "", None, "share of moments"),
        ("fitted_fid", "shape_share", "", None, "share of shape"),
        ("interpolation_fid", "interpolation_fid", "", False, "FID, midpoints, circle"),
        ("interpolation_fid", "interpolation_fid_straight", "", False, "FID, midpoints, straight"),
        ("interpolation_fid", "interpolation_fid_centred", "", False, "FID, midpoints, circle about the mean"),
        ("posterior", "posterior_mmd", "", False, "MMD² to the prior"),
        ("posterior", "active_units", "", None, ""),
    ),
    *_part(
        "Anomaly",
        ("anomaly", "auroc_reconstruction", "", True, "AUROC, reconstruction"),
        ("anomaly", "auroc_inversion", "", True, "AUROC, inversion"),
        ("anomaly", "auroc_bound", "", True, "AUROC, bound"),
    ),
    *_part(
        COST,
        ("cost", "spent_images", "", None, "images seen"),
        ("cost", "spent_updates", "", None, "updates"),
        ("cost", "train_seconds", "s", False, "training"),
        ("cost", "images_per_second", "images/s", True, "training speed"),
        ("cost", "sampling_images_per_second", "images/s", True, "sampling speed"),
        # of other programs during training; speeds beside other work are not those of a run alone
        ("cost", "neighbours", "processors", None, "other work"),
        ("cost", "parameters", "", None, ""),
        ("cost", "peak_memory", "MiB", False, "peak memory"),
    ),
)
_SECOND = tuple(under_second(column) for column in _FIRST if column.metric in OF_FEATURES)
COLUMNS = (*(c for c in _FIRST if c.part != COST), *_SECOND, *(c for c in _FIRST if c.part == COST))
BY_NAME = {column.name: column for column in COLUMNS}
# other metrics' columns stand between the scores and the cost
PARTS = (*dict.fromkeys(column.part for column in COLUMNS if column.part != COST), OTHER, COST)


def columns_of(metric: str) -> tuple[Column, ...]:
    """The columns of one of genbench's own metrics, in the order of the page."""
    return tuple(column for column in _FIRST if column.metric == metric)


def columns_in(part: str) -> tuple[Column, ...]:
    """The columns of a part of the page."""
    return tuple(column for column in COLUMNS if column.part == part)
