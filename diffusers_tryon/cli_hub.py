# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The commands `diffusers-tryon hub ...`: what goes to the Hugging Face Hub, and the cards of it."""

from pathlib import Path
from typing import Annotated

import typer


commands = typer.Typer(
    name="hub",
    help="Publish pipelines, networks and Spaces on the Hugging Face Hub.",
    no_args_is_help=True,
)


@commands.command(no_args_is_help=True)
def push(
    folder: Annotated[Path, typer.Argument(help="A folder exactly as it is to lie on the Hub.", show_default=False)],
    repo_id: Annotated[str, typer.Argument(help="user/name; made if there is none.", show_default=False)],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    revision: Annotated[
        str | None,
        typer.Option("--revision", "--branch", help="Branch to push to, made if there is none.", show_default="main"),
    ] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request in place of a commit.")] = False,
    message: Annotated[str | None, typer.Option(help="Of the commit.", show_default="Push FOLDER")] = None,
    token: Annotated[
        str | None, typer.Option(help="Token of the Hub.", show_default="that of `hf auth login` or HF_TOKEN")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and upload nothing.")] = False,
) -> None:
    """Check a folder and, if all is well, upload it to the Hub.

    A pipeline must load and make a picture, a network must run, the rows of a data set must be right, a Space must
    have its app and requirements. The card must have what the Hub asks for, and the pictures that it shows. Pickles,
    states of optimisers, paths of this machine and tokens are refused. Every problem is listed; with any, nothing is
    uploaded. Of files that are no longer there, those are removed from the Hub that an earlier push brought, and no
    others. Code in the folder is run if its model_index.json names it.

    **Examples**

    ```
    diffusers-tryon hub push my-cascade me/my-cascade --private

    diffusers-tryon hub push my-cascade me/my-cascade --dry-run
    ```
    """
    if create_pr and revision is not None:
        raise typer.BadParameter("--create-pr goes with the main branch alone: leave --revision out.")
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    from .hub.publish import check_card_on_hub, publish, validate

    # Bars of loading, which takes no time worth showing; those of uploading stay.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    validation = validate(folder)
    problems, card_problems = validation.problems, []
    try:
        card_problems = check_card_on_hub(folder, validation.repo_type, repo_id)
    except OSError as error:
        if not dry_run and not problems:
            raise
        typer.echo(f"diffusers-tryon: warning: {error}", err=True)
    problems = problems + card_problems
    for problem in problems:
        typer.echo(f"{folder}: {problem}", err=True)
    if problems:
        typer.echo(f"Nothing was pushed to {repo_id}: problems: {len(problems)}.", err=True)
        raise typer.Exit(1)
    for line in validation.done:
        typer.echo(line)
    if dry_run:
        typer.echo(f"{folder} can be pushed to {repo_id} as a {validation.repo_type}; nothing was uploaded.")
        return
    typer.echo(publish(folder, repo_id, validation.repo_type, private, revision, create_pr, message, token))


@commands.command(no_args_is_help=True)
def card(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A pipeline, a stage alone, adapters, or one of the networks that prepare photographs, as it is to "
            "lie on the Hub.",
            show_default=False,
        ),
    ],
    repo_id: Annotated[
        str | None,
        typer.Option(help="user/name on the Hub, for the example code.", show_default="the training record's"),
    ] = None,
) -> None:
    """Build or refresh the card of a folder, its README.md.

    It tells what the configuration says, the record of training (run.json of the training script, or a
    training_record.json written by hand) and the records of evaluation (evaluation*.json of `diffusers-tryon
    evaluate`). What nobody recorded is called unknown. Of a card that is there, only what stands between the marks of
    generated text is written anew; every other sentence is kept.

    **Examples**

    ```
    diffusers-tryon hub card my-cascade --repo-id me/my-cascade
    ```
    """
    from .hub.cards import write_card

    typer.echo(f"wrote {write_card(folder, repo_id)}")


@commands.command("export-remote-code", no_args_is_help=True)
def export_remote_code(
    output: Annotated[Path, typer.Argument(help="New folder to write.", show_default=False)],
    model: Annotated[
        str | None, typer.Option(help="Folder or Hub id of the pipeline.", show_default="the shipped checkpoint")
    ] = None,
    repo_id: Annotated[
        str | None,
        typer.Option(help="user/name under which it is going to lie on the Hub, for the card.", show_default="OUTPUT"),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of a pipeline on the Hub.", show_default="main")
    ] = None,
    token: Annotated[
        str | None, typer.Option(help="Token of the Hub.", show_default="that of `hf auth login` or HF_TOKEN")
    ] = None,
) -> None:
    """Write a repository that loads where this package is not installed.

    It brings the pipeline's code, and loads with DiffusionPipeline.from_pretrained(..., trust_remote_code=True).

    **Examples**

    ```
    diffusers-tryon hub export-remote-code cascade-with-code --model my-cascade --repo-id me/cascade-with-code
    ```
    """
    from .hub.remote_code import code_files
    from .hub.remote_code import export_remote_code as export

    export(output, model, repo_id, revision, token)
    typer.echo(f"Wrote {output}. The code in it, to be read by those who load it: {', '.join(code_files())}")


@commands.command("add-modular-files", no_args_is_help=True)
def add_modular_files(
    folder: Annotated[Path, typer.Argument(help="Folder of a pipeline.", show_default=False)],
    repo_id: Annotated[
        str | None,
        typer.Option(help="user/name under which it is going to lie on the Hub.", show_default="only on this machine"),
    ] = None,
) -> None:
    """Make a pipeline's folder one for Modular Diffusers too.

    ModularPipeline.from_pretrained(..., trust_remote_code=True) then finds the blocks and the components. The files
    name the repository; `hub push` writes the one that it pushes to.

    **Examples**

    ```
    diffusers-tryon hub add-modular-files my-cascade --repo-id me/my-cascade
    ```
    """
    from .hub.modular_files import MODULAR_FILES, write_modular_files

    write_modular_files(folder, repo_id)
    typer.echo(f"Wrote {', '.join(MODULAR_FILES)} into {folder}.")
