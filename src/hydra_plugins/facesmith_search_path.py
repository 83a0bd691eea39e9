"""Hydra's door to the configs of installed training types: their `conf` folders join facesmith's.

Hydra imports it at every start of every application, so it does nothing where facesmith is not in use.
"""

import sys

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class PluginConfigs(SearchPathPlugin):
    """Appends the `conf` folders of the packages that entry points of `facesmith.methods` name."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append them; facesmith's own options win over theirs of the same name."""
        if "facesmith" not in sys.modules:
            return
        from facesmith.config.targets import plugin_conf_folders

        for folder in plugin_conf_folders():
            search_path.append(provider="facesmith plug-in", path=f"file://{folder}")
