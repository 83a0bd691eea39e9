"""The log file holds what ran and how it ended; the console what a person needs."""

import logging
import warnings
from pathlib import Path

import pytest

from facesmith.config.schema import TrainConfig
from facesmith.training.run.log import ConsoleFilter, describe_git_state, log_run, make_file_handler, silence_libraries

from ...config.test_configs import NEEDED, composed, validate


@pytest.fixture
def handlers(tmp_path: Path):
    """Set logging up as conf/hydra/job_logging/people.yaml does, at debug; give console and file."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.utils import configure_log
    from omegaconf import OmegaConf

    root, own = logging.getLogger(), logging.getLogger("facesmith")
    before, level = list(root.handlers), own.level
    composed("train", "experiment=identity", *NEEDED, "logging.level=debug")
    cfg = OmegaConf.masked_copy(HydraConfig.instance().cfg, "hydra")
    logging_config = OmegaConf.to_container(cfg.hydra.job_logging, resolve=False)
    logging_config["handlers"]["file"]["filename"] = str(tmp_path / "train.log")
    logging_config["loggers"]["facesmith"]["level"] = "DEBUG"
    configure_log(OmegaConf.create(logging_config))
    yield tmp_path / "train.log"
    root.handlers[:] = before
    own.setLevel(level)


def test_log_run_file_holds_settings_versions_and_end(handlers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = validate(composed("train", "experiment=identity", *NEEDED), TrainConfig)
    silence_libraries()
    with log_run(config):
        logging.getLogger("facesmith.test").debug("fine detail")
        logging.getLogger("lightning.pytorch").info("of Lightning")
        warnings.warn("of a library", stacklevel=1)
    with pytest.raises(KeyError), log_run(config):
        raise KeyError("bug")
    text = handlers.read_text()
    for words in ("max_frames: 1000", "torch 2", "python 3", "git: ", "command: ", "fine detail", "of Lightning"):
        assert words in text, words
    for words in ("done after", "ended by KeyError", "Traceback", "of a library"):
        assert words in text, words


def test_console_filter_shows_own_records_and_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(name: str, level: int, **extra: bool) -> bool:
        record = logging.LogRecord(name, level, "", 0, "", (), None)
        record.__dict__.update(extra)
        return bool(ConsoleFilter().filter(record))

    assert shown("facesmith.faces.face_set.extraction", logging.INFO)
    assert not shown("facesmith.training.run.log", logging.ERROR, file_only=True)
    assert not shown("lightning.pytorch", logging.WARNING)
    assert shown("lightning.pytorch", logging.ERROR)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not shown("facesmith.faces.face_set.extraction", logging.WARNING)
    assert shown("facesmith.faces.face_set.extraction", logging.ERROR)


def test_make_file_handler_without_file_is_null(tmp_path: Path) -> None:
    assert isinstance(make_file_handler(None), logging.NullHandler)
    handler = make_file_handler(str(tmp_path / "logs" / "swap.log"))
    handler.emit(logging.LogRecord("a", logging.INFO, "", 0, "said", (), None))
    handler.close()
    assert (tmp_path / "logs" / "swap.log").read_text().strip() == "said"


def test_describe_git_state_names_commit() -> None:
    assert describe_git_state().startswith("git: ")
