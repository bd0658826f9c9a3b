"""The words of a search's command, as words of the training program."""

from collections.abc import Iterator, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser

# the keys that the search adds to the training program's configuration
OWN_KEYS = (
    *("families", "trials", "sampler", "search_seed", "select", "seed", "confirm_seeds", "search_name", "model"),
    *("workers", "storage"),
)
OWN_PREFIXES = ("spaces", "selection", "protocol@selection", "search@")
# words of a command that do not change what is searched
NOT_RECORDED = ("runs_dir=", "reports_dir=", "data_dir=", "workers=", "storage=")


def training_words(words: Sequence[str]) -> Iterator[str]:
    """The overrides that the training program has."""
    for word, override in zip(words, OverridesParser.create().parse_overrides(list(words)), strict=True):
        key = override.get_key_element().lstrip("+~")
        is_own = override.key_or_group in OWN_KEYS or key.startswith(OWN_PREFIXES)
        if not is_own and not key.startswith("hydra."):
            yield word


def is_of_protocol(word: str) -> bool:
    key = word.lstrip("+~").partition("=")[0]
    return key.partition(".")[0] == "protocol" or "@protocol." in key


def selection_words(words: Sequence[str]) -> Iterator[str]:
    """The overrides of the selection protocol, as overrides of the training program's protocol."""
    for word in words:
        for selection, protocol in (("selection.", "protocol."), ("protocol@selection=", "protocol=")):
            bare = word.lstrip("+")
            if bare.startswith(selection):
                yield word[: len(word) - len(bare)] + protocol + bare.removeprefix(selection)
