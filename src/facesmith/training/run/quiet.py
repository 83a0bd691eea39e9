"""Keep the console to what a person needs to know."""

import logging
import os
import warnings


def quiet_libraries() -> None:
    """Silence library chatter that says nothing about the user's run; warnings of our own stay.

    What Lightning notes goes into the log file, where there is one. Must run before mediapipe is imported: its C++ log
    level is read from the environment.
    """
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    to_file = any(isinstance(handler, logging.FileHandler) for handler in logging.getLogger().handlers)
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.INFO if to_file else logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(lightning|torch|torchdata|mediapipe|insightface|onnxscript)\b")
