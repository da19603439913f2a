# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Downloading a pipeline whose components are classes of this package.

`DiffusionPipeline.download` refuses, for repositories on the Hub only, components of a library it does not know,
before it looks whether their module is imported. It needs no more than this: the files of the components, in the
wanted variant.
"""

import json
from pathlib import Path

from diffusers.pipelines.pipeline_loading_utils import variant_compatible_siblings
from huggingface_hub import get_cached_repo_tree, snapshot_download


def download_components(
    repo_id: str,
    component_names: list[str],
    *,
    config_name: str,
    variant: str | None = None,
    use_safetensors: bool | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> str:
    """Download a repository's `config_name` and the folders of the named components that it has.

    Args:
        repo_id (`str`): "user/name".
        component_names (`list[str]`): Components to download.
        config_name (`str`): The pipeline's index, "model_index.json".
        variant (`str`, *optional*): Weights to take where a component has them in this variant.
        use_safetensors (`bool`, *optional*): Whether weights must (True) or must not (False) be safetensors. By
            default they are, unless the repository has none.
        revision, cache_dir, token, local_files_only, force_download: as in `huggingface_hub.snapshot_download`.

    Returns:
        `str`: The folder of the snapshot in the cache.

    Raises:
        ValueError: the repository is none of a pipeline, or no component has the variant.
    """
    options = {
        "cache_dir": cache_dir,
        "token": token,
        "local_files_only": bool(local_files_only),
        "force_download": force_download,
    }
    folder = snapshot_download(repo_id, revision=revision, allow_patterns=[config_name], **options)
    # From here on the commit, so that a push in between cannot mix two versions.
    commit = Path(folder).name
    if not (Path(folder) / config_name).is_file():
        raise ValueError(f"The repository {repo_id} holds no pipeline: it has no {config_name}.")
    index = json.loads((Path(folder) / config_name).read_text())
    present = [name for name in component_names if isinstance(index.get(name), list) and index[name][0] is not None]
    # The listing that the first call left in the cache; without a connection it is all there is.
    files = [file.path for file in get_cached_repo_tree(repo_id, revision=commit, cache_dir=cache_dir)]
    files = [file for file in files if file.split("/")[0] in present]
    has_safetensors = any(file.endswith(".safetensors") for file in files)
    if use_safetensors is None:
        use_safetensors = has_safetensors
    weights, _ = variant_compatible_siblings(
        files, variant=variant, ignore_patterns=["*.bin"] if use_safetensors else ["*.safetensors"]
    )
    settings = [file for file in files if Path(file).name in ("config.json", "scheduler_config.json")]
    return snapshot_download(
        repo_id, revision=commit, allow_patterns=[config_name, *sorted(weights), *settings], **options
    )
