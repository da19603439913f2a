# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The command `diffusers-tryon app`: the try-on in a browser."""

from typing import Annotated

import typer

from .cli_options import MODEL_PANEL, Device, Dtype, Model, Optimize, resolve_dtype


_SERVER = "Server"

commands = typer.Typer()


@commands.command()
def app(
    model: Model = None,
    dtype: Dtype = None,
    device: Device = "auto",
    optimize: Optimize = False,
    preprocessor: Annotated[
        str,
        typer.Option(
            help="What looks at the photographs: offline, hub (large networks, downloaded), or a folder or Hub id.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = "offline",
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; 0.0.0.0 lets everybody in who reaches this machine.", rich_help_panel=_SERVER
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            help="Port to listen on.",
            min=1,
            max=65535,
            show_default="the first that is free from 7860 on",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    share: Annotated[
        bool,
        typer.Option(
            "--share", help="Also ask gradio's public service for an address on the internet.", rich_help_panel=_SERVER
        ),
    ] = False,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the app in a browser here.", rich_help_panel=_SERVER)
    ] = False,
    queue_size: Annotated[
        int,
        typer.Option(
            help="People who may wait for their turn; the next one is told to come again.",
            min=1,
            rich_help_panel=_SERVER,
        ),
    ] = 20,
) -> None:
    """Try garments on in a browser: photographs or prepared inputs in, the picture and its stages out.

    Needs the extra `app`. Nothing leaves this machine unless --share or --host let others in. Uploads and results are
    deleted after two hours at the latest. Ctrl-C ends it.

    **Examples**

    ```
    diffusers-tryon app --open

    diffusers-tryon app --model user/my-tryon --dtype bfloat16 --preprocessor hub --host 0.0.0.0 --port 8000
    ```
    """
    from diffusers.utils import logging

    from .app import create_app, launch_app
    from .app_generation import load_service

    logging.disable_progress_bar()  # of loading, which takes no time worth showing
    page = create_app(load_service(model, resolve_dtype(dtype, optimize), device, preprocessor, optimize))
    url = launch_app(page, host, port, share, open_browser, queue_size)
    typer.echo(f"The app runs at {url} until Ctrl-C ends it.")
    page.block_thread()
