"""Further processes of one machine that share the trials of a search."""

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from hydra import initialize_config_module

from benchmarks.errors import exits_cleanly
from benchmarks.multirun.search import SearchProgram
from benchmarks.multirun.settings import SearchSettings
from benchmarks.signals import handlers, interruptible


@contextmanager
def helpers(program: SearchProgram) -> Iterator[None]:
    """Runs `workers` - 1 processes that do the same as this one, and waits for them.

    The processes share trials through their claims alone. If one dies, the others take up its trial.
    """
    context = multiprocessing.get_context("spawn")
    arguments = (program.settings, program.command_words, program.claims.before)
    crew = [context.Process(target=_work, args=arguments) for _ in range(program.settings.workers - 1)]
    # Ctrl-C reaches every process of a terminal: these inherit that it is ignored, and get SIGTERM from this one
    with handlers({signal.SIGINT: signal.SIG_IGN}):
        for process in crew:
            process.start()
    try:
        yield
    except BaseException:
        for process in crew:
            process.terminate()
        raise
    finally:
        for process in crew:
            process.join()


@exits_cleanly
def _work(settings: SearchSettings, words: list[str], before: dict[str, int]) -> None:
    with interruptible(), initialize_config_module("conf", version_base="1.3"):
        program = SearchProgram(settings, words, before)
        program.search()
        program.confirm()
