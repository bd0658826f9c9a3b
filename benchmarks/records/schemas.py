"""The declared types of the JSON that genbench keeps: msgspec checks a file against its type while it reads the file.

Keys that a type does not declare are ignored, so that newer versions may add some. Keys that older versions did not write are
optional, and an optional key may be null. Runs folders are shared: a text that becomes a line of a report or a part of a path
is bounded and has no control characters, and a number is finite and bounded.
"""

import re
from typing import Annotated, NotRequired, Required, TypedDict

from msgspec import Meta

# far above every score, and so small that the fourth power of a difference is finite, which statistics need
MOST_VALUE = 1e70
# a sheet of every metric has 60
MOST_SCORES = 1000
# the name of a file or a folder
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
# what a terminal would obey, and halves of surrogate pairs, which no file of text can hold
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_NO_CONTROL = rf"\A[^{CONTROL.pattern[1:-1]}]*\Z"
Text = Annotated[str, Meta(max_length=200, pattern=_NO_CONTROL)]
FileName = Annotated[str, Meta(pattern=rf"\A{NAME.pattern}\Z")]
RelativePath = Annotated[str, Meta(max_length=1000, pattern=_NO_CONTROL)]
Whole = Annotated[int, Meta(ge=0, le=2**62)]
Seed = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Real = Annotated[float, Meta(ge=-MOST_VALUE, le=MOST_VALUE)]
# without a pattern: msgspec 0.22 frees memory twice for a union of a list and a text with a pattern
_Scalar = bool | Annotated[int, Meta(ge=-(2**62), le=2**62)] | Real | Annotated[str, Meta(max_length=200)] | None
Setting = _Scalar | list[_Scalar]
Speed = Annotated[float, Meta(gt=0, le=MOST_VALUE)]
# whole numbers stay whole
Amount = Annotated[int, Meta(ge=0, le=2**62)] | Annotated[float, Meta(ge=0, le=MOST_VALUE)]


def is_nickname(value: object) -> bool:
    """Whether a value can be a nickname: a text of 1 to 60 characters, with a letter or digit, without control characters."""
    return isinstance(value, str) and len(value) <= 60 and any(map(str.isalnum, value)) and not CONTROL.search(value)


class Names(TypedDict, total=False):
    """The choices that name a run."""

    datamodule: Text
    network: Text
    model: Text


class Sizes(TypedDict, total=False):
    """The number of examples of each split."""

    train: Whole | None
    val: Whole | None
    test: Whole | None


class Data(TypedDict, total=False):
    """The facts about the data of a run."""

    id: FileName
    name: Text | None
    shape: Annotated[list[Whole], Meta(max_length=4)] | None
    sizes: Sizes
    binarize: Text
    dequantize: bool
    checksum: Text | None
    leave_out: int | None


class Budget(TypedDict, total=False):
    """An amount of training and its unit."""

    unit: Text
    amount: Amount


class Spent(TypedDict, total=False):
    """What a run spent of each unit of a budget."""

    images: Amount | None
    seconds: Amount | None
    updates: Amount | None


class Cost(TypedDict, total=False):
    """What a run costs."""

    parameters: Amount | None
    decoder_parameters: Amount | None
    train_seconds: Amount | None
    images_per_second: Amount | None
    neighbours: Amount | None
    sampling_images_per_second: Amount | None
    peak_memory_bytes: Amount | None


class Environment(TypedDict, total=False):
    """The machine of a run. The number of threads is set again by a replay, so it is bounded."""

    python: Text | None
    system: Text | None
    device: Text | None
    threads: Annotated[int, Meta(ge=1, le=1024)] | None
    processor: Text | None
    cpu_capability: Text | None
    cuda: Text | None
    cudnn: Text | None
    seeds_together: Whole


class MeasuredCosts(TypedDict):
    """`costs.json`: speeds of a run's configuration, measured for their own sake, in turns with those of other rows."""

    schema: int
    config_id: Text
    seed: Seed
    together: FileName
    images_per_second: Speed
    sampling_images_per_second: Speed
    seconds: Amount
    neighbours: Amount | None
    environment: Environment
    measured_at: Text


class Commit(TypedDict, total=False):
    """The commit of the code that made a run."""

    sha: Text | None
    dirty: bool | None


class Role(TypedDict, total=False):
    """The search that a run belongs to, and its role there."""

    id: Text | None
    name: Text | None
    role: Text | None
    trial: Whole | None


class Checkpoint(TypedDict, total=False):
    """The final checkpoint of a run."""

    sha256: Text | None


class Extension(TypedDict):
    """The shorter run that a run went on from: its configuration, the amount of its budget, its final checkpoint."""

    config_id: Text
    amount: Amount
    sha256: Text | None


class Submitted(TypedDict):
    """A file or folder that was submitted: its name without the folders above it, and its SHA-256."""

    name: Text
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class External(TypedDict, total=False):
    """What is known of a row that genbench did not train, besides what a record says of every run."""

    kind: Required[Annotated[str, Meta(pattern=r"\A(samples|generator|python)\Z")]]
    file: Submitted | None
    samples: Whole | None
    layout: Text | None
    range: Text | None
    prior: Text | None
    latent_dim: Whole | None
    source: Text | None
    notes: Text | None
    remarks: Annotated[list[Text], Meta(max_length=64)]
    scored_on: Environment


class Record(TypedDict, total=False):
    """`run.json`."""

    schema: Required[int]
    status: Required[Annotated[str, Meta(pattern=r"\A(finished|diverged|failed)\Z")]]
    seed: Required[Seed]
    config_id: Required[Text]
    nickname: Text | None
    names: Required[Names]
    data: Required[Data]
    error: str | None
    command: str | None
    search: Role | None
    budget: Budget | None
    spent: Spent | None
    steps: dict[str, Whole] | None
    weights_scored: Text | None
    batch_norm: Text | None
    loop: Text | None
    cost: Cost | None
    environment: Environment | None
    packages: dict[str, Text | None] | None
    git: Commit | None
    facts: dict[str, Text] | None
    checkpoint: Checkpoint | None
    extended_from: Extension | None
    external: External | None
    finished_at: Text | None


class ProtocolFacts(TypedDict, total=False):
    """What is read of a protocol on a score sheet. A sheet keeps the whole protocol, for replays."""

    name: Required[FileName]
    split: Annotated[str, Meta(pattern=r"\A(train|val|test)\Z")]
    samples: Whole | None
    examples: Whole | None
    encoder: Text | None
    second_encoder: Text | None


class Detail(TypedDict, total=False):
    """What is read of the detail of a score. A sheet keeps the whole detail."""

    encoder: Annotated[str, Meta(max_length=200)] | None
    of: Whole
    neighbours: Whole
    k: Whole
    temperatures: Whole
    reason: str
    standard_error: Real | None
    sigma_curve: list[tuple[Real, Real]]


class SearchRecord(TypedDict):
    """`search.json`."""

    schema: int
    id: Text
    name: Text
    datamodule: Text
    network: Text
    select: Text
    higher_is_better: bool
    protocol_id: Text
    sampler: Text
    command: str


class Checksums(TypedDict):
    """`checksums.json` beside checkpoints."""

    schema: int
    sha256: list[str]


class WandbRun(TypedDict):
    """The file that names the run of wandb that a run goes on in."""

    schema: int
    id: Text
    images: Whole


class JobOutcome(TypedDict):
    """`outcome.json` of a job of a sweep."""

    path: Annotated[str, Meta(max_length=4096, pattern=r"\A[^\x00]*\Z")]
    status: Annotated[str, Meta(pattern=r"\A(finished|diverged|failed)\Z")]
    message: str
    was_done: NotRequired[bool]
