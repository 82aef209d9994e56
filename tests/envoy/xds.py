"""Configuration that changes while Envoy runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness import Bootstrap


class Xds:
    """A listener that Envoy reads from a file and watches, as a control plane would hand it out."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "listeners.json"
        self._version = 0

    def take_over(self, bootstrap: Bootstrap) -> None:
        """For `adjust`: Envoy's listeners come from the file from now on."""
        self._bootstrap = bootstrap
        self.publish(None)
        del bootstrap.value["static_resources"]["listeners"]
        source = {"path_config_source": {"path": str(self.file)}, "resource_api_version": "V3"}
        bootstrap.value["dynamic_resources"] = {"lds_config": source}
        bootstrap.value["node"] = {"id": "test", "cluster": "test"}

    def publish(self, filter_config: Any) -> None:
        """Replaces the file in one step, which is what Envoy watches for."""
        self._version += 1
        if filter_config is not None:
            self._bootstrap.configure(filter_config, struct=False)
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps({"version_info": str(self._version), "resources": [self.resource()]}))
        new.rename(self.file)

    def resource(self) -> dict[str, Any]:
        kind = "type.googleapis.com/envoy.config.listener.v3.Listener"
        return {"@type": kind} | self._bootstrap.listener


class Ecds(Xds):
    """The filter alone comes from a file, by the extension config discovery service: its listener stays as it is."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.file = directory / "filters.json"

    def take_over(self, bootstrap: Bootstrap) -> None:
        self._bootstrap = bootstrap
        self._filter = bootstrap.http_filters[0]["typed_config"]
        bootstrap.in_files.append(self._filter)
        self.publish(None)
        source = {"path_config_source": {"path": str(self.file)}, "resource_api_version": "V3"}
        bootstrap.http_filters[0] = {
            "name": "oidc",
            "config_discovery": {"config_source": source, "type_urls": [self._filter["@type"]]},
        }
        bootstrap.value["node"] = {"id": "test", "cluster": "test"}

    def resource(self) -> dict[str, Any]:
        kind = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
        return {"@type": kind, "name": "oidc", "typed_config": self._filter}
