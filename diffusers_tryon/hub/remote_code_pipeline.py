# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What `DiffusionPipeline.from_pretrained(..., trust_remote_code=True)` finds in a repository: the pipeline, which loads
its networks from the code beside this file and saves that code with itself.
"""

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

from diffusers import DDPMScheduler
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from diffusers_tryon.models.unet_parallel import ParallelUNetModel
from diffusers_tryon.models.unet_parallel_reference import ReferenceParallelUNetModel
from diffusers_tryon.pipelines.own_classes import NETWORKS, with_own_networks
from diffusers_tryon.pipelines.pipeline_tryon_cascade import TryOnCascadePipeline as CascadePipeline


def network_file(module: str, class_name: str) -> tuple[str, str]:
    """Name, without ".py", and text of the file that Diffusers wants in the folder of a network.

    Args:
        module (`str`): The file with the network's code, without ".py".
        class_name (`str`): The network's class.
    """
    text = (
        f"# Copyright 2026 The diffusers-tryon authors.\n# SPDX-License-Identifier: Apache-2.0\n"
        f'"""Diffusers wants a file of code in the folder of a network. The code is in {module}.py above."""\n\n'
        f"from . import {module}\n\n\n{class_name} = {module}.{class_name}\n"
    )
    return f"load_{module}", text


class TryOnCascadePipeline(CascadePipeline):
    """The pipeline of the package `diffusers-tryon` without its part for photographs."""

    # No defaults: of components that have one, `DiffusionPipeline.from_pretrained` ignores what is given for them.
    def __init__(
        self,
        base_unet: ParallelUNetModel | ReferenceParallelUNetModel,
        base_scheduler: SchedulerMixin,
        image_noising_scheduler: DDPMScheduler,
        sr_unet: ParallelUNetModel | ReferenceParallelUNetModel | None,
        sr_scheduler: SchedulerMixin | None,
    ):
        super().__init__(base_unet, base_scheduler, image_noising_scheduler, sr_unet, sr_scheduler)

    @classmethod
    def extract_init_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> tuple:
        """As in Diffusers, with the classes of the code that runs already for the networks.

        Diffusers would run a file for each network, and cannot do so for `device_map="balanced"`.
        """
        return super().extract_init_dict(with_own_networks(config_dict), **kwargs)

    def to_json_string(self) -> str:
        """The index of the components, which names files of code for pipeline and networks."""
        index = json.loads(super().to_json_string())
        index["_class_name"] = [Path(__file__).stem, type(self).__name__]
        for name, (module, class_name) in self._networks().items():
            index[name] = [network_file(module, class_name)[0], class_name]
        return json.dumps(index, indent=2, sort_keys=True) + "\n"

    def to_json_file(self, json_file_path: str | Path) -> None:
        """Write the index and the code that it names; `save_pretrained` calls this."""
        super().to_json_file(json_file_path)
        folder = Path(json_file_path).parent
        for defined_there in (TryOnCascadePipeline, CascadePipeline, ParallelUNetModel, ReferenceParallelUNetModel):
            shutil.copy(inspect.getfile(defined_there), folder)
        for name, (module, class_name) in self._networks().items():
            file, text = network_file(module, class_name)
            (folder / name / f"{file}.py").write_text(text, encoding="utf-8")

    def _networks(self) -> dict[str, tuple[str, str]]:
        """File of code and class of each component that is a network of this code."""
        entries = {name: entry for name, entry in self.config.items() if isinstance(entry, (tuple, list))}
        return {
            name: (module.rpartition(".")[2], class_name)
            for name, (module, class_name) in entries.items()
            if class_name in NETWORKS and module == NETWORKS[class_name].__module__
        }
