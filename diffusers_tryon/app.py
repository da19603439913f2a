# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The app for a browser: two photographs or prepared inputs, one button, a picture. Built with gradio.

`diffusers-tryon app` starts it; the Space in `hub_cards/tryon-space` is the same app.
"""

import html
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .app_examples import photograph_examples, prepared_examples, samples_folder
from .app_generation import DEFAULT_GUIDANCE, STAGE_TITLES, Sampling, TryOnResult, TryOnService
from .composition import CATEGORIES
from .data.schema import GARMENT_TYPES
from .schedules import DEFAULT_STEPS, SCHEDULERS


try:
    import gradio as gr
except ImportError as error:
    raise ImportError('The app needs gradio: pip install "diffusers-tryon[app]"') from error


MAX_UPLOAD = "50mb"
# Seconds after which uploads and results are deleted, and between two looks for them.
KEEP_FILES = 3600
MAX_STEPS = 256
MAX_GUIDANCE = 10.0
MAX_SEED = 2**32 - 1

_OWN_SCHEDULER = "model"
_UNEXPECTED = "Something went wrong in the app itself; the log of whoever runs it says what."
_TITLES = {"preparation": "preparation", **{name: title.lower() for name, title in STAGE_TITLES.items()}}
_UPLOAD_HEIGHT = 240
_BUTTONS = ["download", "fullscreen"]
# Tall photographs stay on the screen; captions are not cut; what a network made shows its pixels when it is enlarged.
_CSS = """
#result { min-height: 16rem; }
#result .image-frame, #result img { width: 100%; max-height: 34rem; object-fit: contain; }
#intermediates .image-container { padding-top: 1.75rem; }
#stages .grid-wrap { height: auto; min-height: 0; max-height: none; }
#stages img { image-rendering: pixelated; }
#stages .caption-label { white-space: normal; max-width: 100%; font-size: var(--text-xs); }
"""
# Of several people in a photograph, from the largest on; "auto" is the largest with a note that there are others.
_PERSON_INDICES = ("auto", *map(str, range(10)))
# On a small screen the result is below everything else. People want to see that something happens, and what.
_SHOW_RESULT = """(...inputs) => {
  const result = document.getElementById("result"), { top, bottom } = result.getBoundingClientRect();
  if (top < 0 || bottom > window.innerHeight) result.scrollIntoView({ behavior: "smooth" });
  return inputs;
}"""


# A file that was uploaded; gradio has seen to it that `path` lies in its folder of uploads.
UploadedFile = dict[str, Any] | None


class _Handlers:
    """What the buttons do. The names of the arguments are those of the endpoints.

    The values are as the browser sends them (`preprocess=False`): gradio would open pictures itself, and of one that
    is none tell the user nothing but "Error".
    """

    def __init__(self, service: TryOnService):
        self.service = service

    def try_on(
        self,
        person_photo: UploadedFile,
        garment_photo: UploadedFile,
        category: str = "auto",
        garment_type: str = "auto",
        person_index: str = "auto",
        scheduler: str = _OWN_SCHEDULER,
        steps: int = DEFAULT_STEPS["base"],
        sr_steps: int = DEFAULT_STEPS["sr"],
        guidance: float = DEFAULT_GUIDANCE,
        sr_guidance: float = DEFAULT_GUIDANCE,
        seed: int | None = 0,
        random_seed: bool = False,
        show_stages: bool = True,
        show_intermediates: bool = True,
        progress: gr.Progress = gr.Progress(),
    ) -> tuple:
        """Show the person of one photograph in the garment of another."""
        photos = _paths({"person_photo": person_photo, "garment_photo": garment_photo})
        with _errors_for_people(photos):
            sampling = _sampling(scheduler, steps, sr_steps, guidance, sr_guidance, seed, random_seed)
            result = self.service.try_on(
                **photos,
                category=category,
                garment_type=garment_type,
                person_index=_index(person_index),
                sampling=sampling,
                on_progress=progress,
            )
            return _shown(result, sampling.seed, show_stages, show_intermediates)

    def try_on_prepared(
        self,
        agnostic_image: UploadedFile,
        garment_image: UploadedFile,
        person_pose: UploadedFile,
        agnostic_mask: UploadedFile = None,
        garment_pose: UploadedFile = None,
        scheduler: str = _OWN_SCHEDULER,
        steps: int = DEFAULT_STEPS["base"],
        sr_steps: int = DEFAULT_STEPS["sr"],
        guidance: float = DEFAULT_GUIDANCE,
        sr_guidance: float = DEFAULT_GUIDANCE,
        seed: int | None = 0,
        random_seed: bool = False,
        show_stages: bool = True,
        show_intermediates: bool = True,
        progress: gr.Progress = gr.Progress(),
    ) -> tuple:
        """Try on with a person whose clothes are painted over, a garment that is cut out, and their poses."""
        files = _paths(
            {
                "agnostic_image": agnostic_image,
                "garment_image": garment_image,
                "person_pose": person_pose,
                "agnostic_mask": agnostic_mask,
                "garment_pose": garment_pose,
            }
        )
        with _errors_for_people(files):
            sampling = _sampling(scheduler, steps, sr_steps, guidance, sr_guidance, seed, random_seed)
            result = self.service.try_on_prepared(files, sampling, progress)
            return _shown(result, sampling.seed, show_stages, show_intermediates)


def _paths(files: dict[str, UploadedFile]) -> dict[str, str | None]:
    return {name: file["path"] if file else None for name, file in files.items()}


def _index(person_index: str | int) -> int | None:
    person_index = str(person_index)  # programs may send a number
    if person_index not in _PERSON_INDICES:
        raise ValueError(f"`person_index` must be one of {', '.join(_PERSON_INDICES)}, got {person_index}.")
    return None if person_index == "auto" else int(person_index)


def _sampling(
    scheduler: str,
    steps: int,
    sr_steps: int,
    guidance: float,
    sr_guidance: float,
    seed: int | None,
    random_seed: bool,
) -> Sampling:
    if random_seed:
        seed = random.randint(0, MAX_SEED)
    elif not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise ValueError(f"`seed` must be a whole number from 0 to {MAX_SEED}, got {seed}.")
    for stage, count in (("base", steps), ("SR", sr_steps)):
        if not isinstance(count, int) or not 1 <= count <= MAX_STEPS:
            raise ValueError(f"The {stage} steps must be a whole number from 1 to {MAX_STEPS}, got {count}.")
    own = scheduler == _OWN_SCHEDULER
    if not own and scheduler not in list(SCHEDULERS):
        raise ValueError(f"`scheduler` must be {_OWN_SCHEDULER} or one of {', '.join(SCHEDULERS)}, got {scheduler}.")
    return Sampling(None if own else scheduler, steps, sr_steps, guidance, sr_guidance, seed)


@contextmanager
def _errors_for_people(files: dict[str, str | None]) -> Iterator[None]:
    """Turn what a user got wrong into a message on their screen; of anything else the log alone has the details.

    gradio logs either with its traceback.
    """
    try:
        yield
    except (ValueError, ImportError) as error:
        raise gr.Error(_readable(str(error), files)) from error
    except Exception as error:
        raise gr.Error(_UNEXPECTED) from error


def _readable(message: str, files: dict[str, str | None] | None = None) -> str:
    """A message of the library in the words of the screen: without the folders of uploads, arguments by their labels.

    gradio shows it as HTML.
    """
    for path in filter(None, (files or {}).values()):
        message = message.replace(path, Path(path).name)
    message = re.sub(r"`([a-z_]+)`", lambda name: f"the {name[1].replace('_', ' ')}", message)
    return html.escape(message[:1].upper() + message[1:], quote=False)


def _shown(result: TryOnResult, seed: int, show_stages: bool, show_intermediates: bool) -> tuple:
    """Values of the outputs: the result, what is said about it, stages, intermediates, the seed."""
    stages = [
        (image, f"{STAGE_TITLES[name]}, {image.width} x {image.height}") for name, image in result.stages.items()
    ]
    return (
        result.image,
        _report(result, seed),
        stages if show_stages else None,
        result.draw_intermediates() if show_intermediates else None,
        seed,
    )


def _report(result: TryOnResult, seed: int) -> str:
    """Markdown: size, seed, seconds, and a line for each warning."""
    seconds = ", ".join(f"{_TITLES[name]} {value:.1f} s" for name, value in result.seconds.items())
    lines = [f"{result.image.width} x {result.image.height} pixels, seed {seed}; {seconds}."]
    lines += [f"**Note:** {_readable(warning)}" for warning in result.warnings]
    return "\n\n".join(lines)


def create_app(service: TryOnService, title: str = "Virtual try-on") -> gr.Blocks:
    """Lay out the app.

    Every press is an entry of one queue, and one at a time is worked on. The endpoints `/try_on` and
    `/try_on_prepared` take and return the same by `gradio_client`.

    Args:
        service ([`TryOnService`]): what makes the pictures.
        title (`str`): of the page.

    Returns:
        `gradio.Blocks`: for [`launch_app`].
    """
    handlers = _Handlers(service)
    # Examples are served from where they lie: copies among the uploads would be deleted with these.
    gr.set_static_paths([samples_folder()])
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(KEEP_FILES, KEEP_FILES)) as app:
        gr.Markdown(f"# {title}\n\n{service.note}")
        with gr.Row():
            with gr.Column(min_width=320):
                with gr.Tabs():
                    with gr.Tab("Photographs"):
                        photographs, from_photographs = _photographs_tab()
                    with gr.Tab("Prepared inputs"):
                        conditions, from_conditions = _prepared_tab()
                settings, seed, switches = _settings(service)
            with gr.Column(min_width=320):
                image, report, stages = _results()
        intermediates = gr.Image(label="Intermediates", format="png", buttons=_BUTTONS, elem_id="intermediates")
        outputs = [image, report, stages, intermediates, seed]
        for switch, shown in zip(switches, (stages, intermediates)):
            switch.change(
                lambda visible: gr.update(visible=visible),
                switch,
                shown,
                api_visibility="private",
                show_progress="hidden",
            )
        inputs = [*settings, *switches]
        for button, own_inputs, handler in (
            (from_photographs, photographs, handlers.try_on),
            (from_conditions, conditions, handlers.try_on_prepared),
        ):
            button.click(
                handler,
                [*own_inputs, *inputs],
                outputs,
                api_name=handler.__name__,
                preprocess=False,
                concurrency_limit=1,
                concurrency_id="networks",
                js=_SHOW_RESULT,
                show_progress_on=image,
            )
    return app


def _photographs_tab() -> tuple[list[gr.components.Component], gr.Button]:
    with gr.Row():
        person_photo = _upload("person_photo", "Person photo")
        garment_photo = _upload("garment_photo", "Garment photo")
    with gr.Row():
        category = _choice("Category", ("auto", *CATEGORIES))
        garment_type = _choice("Garment type", ("auto", *GARMENT_TYPES))
        person_index = _choice("Person index", _PERSON_INDICES)
    button = gr.Button("Try it on", variant="primary")
    inputs = [person_photo, garment_photo, category, garment_type]
    gr.Examples(photograph_examples(), inputs, cache_examples=False, api_visibility="private", visible_columns=[0, 1])
    return [*inputs, person_index], button


def _prepared_tab() -> tuple[list[gr.components.Component], gr.Button]:
    with gr.Row():
        agnostic_image = _upload("agnostic_image", "Agnostic image")
        garment_image = _upload("garment_image", "Garment image")
        agnostic_mask = _upload("agnostic_mask", "Mask (optional)")
    with gr.Row():
        person_pose = _upload_pose("person_pose", "Person pose (JSON file)")
        garment_pose = _upload_pose("garment_pose", "Garment pose (optional)")
    button = gr.Button("Try it on", variant="primary")
    inputs = [agnostic_image, garment_image, person_pose, agnostic_mask, garment_pose]
    gr.Examples(prepared_examples(), inputs, cache_examples=False, api_visibility="private", visible_columns=[0, 1])
    return inputs, button


def _choice(label: str, choices: tuple[str, ...]) -> gr.Dropdown:
    return gr.Dropdown(list(choices), value="auto", label=label, min_width=140)


def _upload(name: str, label: str) -> gr.Image:
    return gr.Image(
        label=label,
        sources=["upload", "clipboard"],
        height=_UPLOAD_HEIGHT,
        min_width=140,
        buttons=[],
        elem_id=name,
    )


def _upload_pose(name: str, label: str) -> gr.File:
    return gr.File(label=label, file_types=[".json"], height=160, min_width=200, elem_id=name)


def _settings(service: TryOnService) -> tuple[list[gr.components.Component], gr.Number, list[gr.Checkbox]]:
    """The settings of sampling in the order of the endpoints, the seed among them, and what is to be shown."""
    has_sr = "sr" in service.stages
    schedulers = [("the model's own", _OWN_SCHEDULER), *service.schedulers()]
    with gr.Accordion("Settings", open=False):
        with gr.Row():
            scheduler = gr.Dropdown(schedulers, value=_OWN_SCHEDULER, label="Scheduler", min_width=200)
            seed = gr.Number(0, label="Seed", minimum=0, maximum=MAX_SEED, precision=0, min_width=140)
        with gr.Row():
            steps = gr.Slider(1, MAX_STEPS, DEFAULT_STEPS["base"], step=1, label="Base steps", min_width=140)
            sr_steps = gr.Slider(
                1, MAX_STEPS, DEFAULT_STEPS["sr"], step=1, label="SR steps", visible=has_sr, min_width=140
            )
        with gr.Row():
            guidance = gr.Slider(0, MAX_GUIDANCE, DEFAULT_GUIDANCE, step=0.1, label="Base guidance", min_width=140)
            sr_guidance = gr.Slider(
                0, MAX_GUIDANCE, DEFAULT_GUIDANCE, step=0.1, label="SR guidance", visible=has_sr, min_width=140
            )
        random_seed = gr.Checkbox(False, label="Random seed")
        with gr.Row():
            show_stages = gr.Checkbox(True, label="Show stages", min_width=140)
            show_intermediates = gr.Checkbox(True, label="Show intermediates", min_width=140)
    settings = [scheduler, steps, sr_steps, guidance, sr_guidance, seed, random_seed]
    return settings, seed, [show_stages, show_intermediates]


def _results() -> tuple[gr.Image, gr.Markdown, gr.Gallery]:
    image = gr.Image(label="Result", format="png", buttons=_BUTTONS, elem_id="result")
    report = gr.Markdown(label="Report", elem_id="report")
    stages = gr.Gallery(
        label="Stages",
        format="png",
        columns=2,
        height="auto",
        object_fit="contain",
        elem_id="stages",
        buttons=_BUTTONS,
    )
    return image, report, stages


def launch_app(
    app: gr.Blocks,
    host: str | None = None,
    port: int | None = None,
    share: bool = False,
    open_browser: bool = False,
    queue_size: int | None = 20,
) -> str:
    """Start the server of an app and return; `app.block_thread()` waits for its end, `app.close()` ends it.

    Args:
        app (`gradio.Blocks`): from [`create_app`].
        host (`str`, *optional*): address to listen on; by default the variable `GRADIO_SERVER_NAME`, or else this
            machine's own browsers alone (127.0.0.1).
        port (`int`, *optional*): by default the variable `GRADIO_SERVER_PORT`, or the first that is free from 7860 on.
        share (`bool`): ask gradio's public service for an address on the internet.
        open_browser (`bool`): open it in the browser.
        queue_size (`int`, *optional*): presses that may wait; whoever comes then is told to come again. None is no
            limit.

    Returns:
        `str`: the address of the app on this machine.

    Raises:
        OSError: the port is in use.
    """
    app.queue(max_size=queue_size)
    try:
        _, local_url, _ = app.launch(
            server_name=host,
            server_port=port,
            share=share,
            inbrowser=open_browser,
            theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
            css=_CSS,
            max_file_size=MAX_UPLOAD,
            footer_links=["api", "settings"],
            run_history=False,
            ssr_mode=False,
            enable_monitoring=False,
            prevent_thread_lock=True,
            quiet=True,
        )
    except OSError as error:
        raise OSError(
            f"Cannot listen on {host or 'this machine'}, port {port or '7860 and those that follow'}: is something else "
            "using it?"
        ) from error
    return local_url
