# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Loading repositories that bring their own copy of this code (`diffusers-tryon hub export-remote-code`).

Their index names files of code where that of other repositories names modules of the package. The weights are the
same, so the code that is here loads both, and runs nothing of what a repository brings.
"""

from typing import Any

from diffusers_tryon.models.unet_parallel import ParallelUNetModel
from diffusers_tryon.models.unet_parallel_reference import ReferenceParallelUNetModel


NETWORKS = {network.__name__: network for network in (ParallelUNetModel, ReferenceParallelUNetModel)}


def with_own_networks(index: dict[str, Any]) -> dict[str, Any]:
    """The entries of a pipeline's index, with the module here for each network that is a class of `NETWORKS`."""
    return {
        name: [NETWORKS[entry[1]].__module__, entry[1]] if _is_network(name, entry) else entry
        for name, entry in index.items()
    }


def _is_network(name: str, entry: Any) -> bool:
    is_component = isinstance(entry, (list, tuple)) and len(entry) == 2 and not name.startswith("_")
    return is_component and entry[1] in NETWORKS


class OwnClassesMixin:
    """A pipeline that loads its own classes, whatever code a repository brings. To stand before `DiffusionPipeline`."""

    @classmethod
    def load_config(cls, *args: Any, **kwargs: Any) -> dict[str, Any] | tuple:
        """As in Diffusers, with the classes that are here in place of code in the repository."""
        loaded = super().load_config(*args, **kwargs)
        index = loaded[0] if isinstance(loaded, tuple) else loaded
        index.update(with_own_networks(index))
        # With a list here, `from_pretrained` would want to run the file that it names.
        if isinstance(index.get("_class_name"), list):
            index["_class_name"] = cls.__name__
        return loaded
