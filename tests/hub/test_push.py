# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Pushing in the background: what arrives, what is tried again, and that nothing ever waits for it."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import PATIENCE_SECONDS, is_running, wait_until

from diffusers_tryon.hub.push import BackgroundPush


@pytest.fixture
def warnings(caplog):
    """What was logged so far."""
    with caplog.at_level(logging.WARNING):
        yield caplog


@pytest.fixture
def background(tmp_path):
    """Makes pushes to "me/run" with short pauses; they are ended with the test."""
    made = []

    def make(repo_id: str = "me/run", **arguments) -> BackgroundPush:
        made.append(BackgroundPush(repo_id, False, tmp_path / "staging", **{"pauses": (0.05, 0.1), **arguments}))
        return made[-1]

    yield make
    for push in made:
        push.close(0)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def on_hub(fake_hub, repository: str = "me/run") -> dict[str, str]:
    """The files of the main branch without the list of what pushes own."""
    files = fake_hub.files(repository)
    return {path: content.decode() for path, content in files.items() if path != "pushed_files.json"}


def test_a_folder_arrives_without_states_of_the_optimiser_and_failed_batches(fake_hub, background, tmp_path):
    kept = {"model_index.json": "{}", "unet/weights.safetensors": "w"}
    left_out = {"optimizer.pt": "o", "failed-00000003/batch.safetensors": "b", "unet/optimizer.pt": "o", "tmp-9/x": ""}
    push = background()
    push.push(write(tmp_path / "model", kept | left_out), "checkpoints/latest", "step 1")
    assert push.close(60) == []
    assert on_hub(fake_hub) == {f"checkpoints/latest/{name}": text for name, text in kept.items()}
    assert (push.pushed, push.failed) == (1, 0)
    assert not (tmp_path / "staging").exists()


def test_a_new_repository_is_private_if_asked(fake_hub, tmp_path):
    for name, private in (("open", False), ("closed", True)):
        push = BackgroundPush(f"me/{name}", private, tmp_path / "staging")
        push.push(write(tmp_path / "model", {"a": "1"}), "", "step 1")
        assert push.close(60) == []
    assert fake_hub.private == {"me/closed"}


def test_the_folder_may_be_removed_and_changed_as_soon_as_push_returns(fake_hub, background, tmp_path):
    push = background()
    write(tmp_path / "model", {"small": "old", "large": "x" * (1 << 20), "gone": "still here"})
    push.push(tmp_path / "model", "", "step 1")
    (tmp_path / "model" / "small").write_text("new")
    (tmp_path / "model" / "large").unlink()
    (tmp_path / "model" / "gone").unlink()
    assert push.close(60) == []
    assert on_hub(fake_hub) == {"small": "old", "large": "x" * (1 << 20), "gone": "still here"}


def test_large_files_are_linked_and_not_copied(fake_hub, background, tmp_path):
    fake_hub.faults += ["hang"]
    write(tmp_path / "model", {"large": "x" * (1 << 20), "small": "x"})
    push = background()
    push.push(tmp_path / "model", "", "step 1")
    (staged,) = (tmp_path / "staging").iterdir()
    assert (staged / "large").samefile(tmp_path / "model" / "large")
    assert not (staged / "small").samefile(tmp_path / "model" / "small")


@pytest.mark.parametrize("fault", [500, 503, "drop"])
def test_failures_that_pass_are_tried_again(fake_hub, background, warnings, tmp_path, fault):
    fake_hub.faults += [fault, fault]
    push = background()
    push.push(write(tmp_path / "model", {"a": "1"}), "", "step 1")
    assert push.close(60) == []
    assert on_hub(fake_hub) == {"a": "1"}
    assert (push.pushed, push.failed) == (1, 0)


def test_it_gives_up_in_the_end_without_raising_and_the_next_push_may_arrive(fake_hub, background, warnings, tmp_path):
    fake_hub.faults += [500] * 1000
    push = background()
    push.push(write(tmp_path / "model", {"a": "1"}), "", "step 1")
    wait_until(lambda: push.failed == 1)
    given_up = [record for record in warnings.records if "was given up" in record.message]
    assert len(given_up) == 1 and "'step 1' to me/run" in given_up[0].message and "500" in given_up[0].message
    fake_hub.faults.clear()
    push.push(write(tmp_path / "model", {"a": "2"}), "", "step 2")
    assert push.close(60) == []
    assert on_hub(fake_hub) == {"a": "2"}
    assert (push.pushed, push.failed) == (1, 1)


def test_a_repository_of_somebody_else_is_one_warning_and_no_second_attempt(fake_hub, background, warnings, tmp_path):
    fake_hub.create("somebody/model")
    fake_hub.refused["somebody/model"] = 403
    push = background("somebody/model")
    for step in (1, 2):
        push.push(write(tmp_path / "model", {"a": "1"}), "", f"step {step}")
        wait_until(lambda: push.failed == step)
    assert [record.message for record in warnings.records] == [
        "The push 'step 1' to somebody/model was given up; training goes on: "
        "the token may not write to somebody/model."
    ]
    assert push.close(1) == [""]
    assert "Not pushed to somebody/model: the newest state of the main folder" in warnings.records[-1].message
    assert on_hub(fake_hub, "somebody/model") == {}


def test_a_missing_token_is_said(fake_hub, background, warnings, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    push = background()
    push.push(write(tmp_path / "model", {"a": "1"}), "", "step 1")
    assert push.close(60) == [""]
    assert "there is no token (`hf auth login`" in warnings.records[0].message


def test_no_network_is_one_warning_until_it_gives_up(fake_hub, background, warnings, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    push = background()
    push.push(write(tmp_path / "model", {"a": "1"}), "", "step 1")
    assert push.close(60) == [""]
    first, last, closing = (record.message for record in warnings.records)
    assert "failed and is tried again: ConnectError" in first
    assert "was given up" in last and "Not pushed" in closing


def test_a_hanging_hub_holds_up_neither_push_nor_close(fake_hub, background, warnings, tmp_path):
    fake_hub.faults += ["hang"]
    push = background()
    # The Hub never answers: that these return is what is tested.
    for step in range(3):
        push.push(write(tmp_path / "model", {"a": str(step)}), "checkpoints/latest", f"step {step}")
    assert push.close(0.5) == ["checkpoints/latest"]
    assert "Not pushed to me/run: the newest state of checkpoints/latest" in warnings.records[-1].message
    assert not (tmp_path / "staging").exists()


def test_an_attempt_that_hangs_is_ended_and_tried_again(fake_hub, background, warnings, tmp_path):
    fake_hub.faults += ["hang"] * 100
    push = background(pauses=(0.05,) * 100, attempt_seconds=0.5)
    push.push(write(tmp_path / "model", {"a": "1"}), "", "step 1")
    wait_until(lambda: warnings.records)
    assert "it took longer than 0.5 seconds" in warnings.records[0].message
    fake_hub.faults.clear()
    push.attempt_seconds = 60
    assert push.close(60) == []
    assert on_hub(fake_hub) == {"a": "1"}


def test_of_pushes_that_wait_for_one_path_the_newest_arrives(fake_hub, background, tmp_path):
    fake_hub.faults += [500] * 1000
    push = background(pauses=(0.1,) * 100)
    for step in range(1, 6):
        push.push(write(tmp_path / "model", {"a": str(step)}), "checkpoints/latest", f"step {step}")
        push.push(write(tmp_path / "model", {"a": str(-step)}), "", f"step {step}")
        assert len(list((tmp_path / "staging").iterdir())) <= 3
    fake_hub.faults.clear()
    assert push.close(60) == []
    assert on_hub(fake_hub) == {"checkpoints/latest/a": "5", "a": "-5"}
    # One may have been on its way when the newest came.
    assert push.pushed <= 3


def test_the_root_loses_what_earlier_pushes_brought_and_nothing_else(fake_hub, background, tmp_path):
    fake_hub.create("me/run")
    fake_hub.commit("me/run", {"LICENSE": b"theirs", "checkpoints/latest/a": b"theirs", "images/x[1].png": b"theirs"})
    for files in ({"a": "1", "old/x[1].png": "1", "images/1.png": "1"}, {"a": "2", "b": "2", "images/1.png": "1"}):
        # As two runs of the program: what the first brought is known from the repository.
        push = background()
        folder = write(tmp_path / f"model-{files['a']}", files)
        push.push(folder, "", "step")
        assert push.close(60) == []
    theirs = {"LICENSE": "theirs", "checkpoints/latest/a": "theirs", "images/x[1].png": "theirs"}
    assert on_hub(fake_hub) == {"a": "2", "b": "2", "images/1.png": "1", **theirs}


def test_a_folder_of_its_own_loses_all_that_is_not_pushed(fake_hub, background, tmp_path):
    fake_hub.create("me/run")
    fake_hub.commit(
        "me/run", {"README.md": b"theirs", "checkpoints/latest/old/x": b"", "checkpoints/other": b"theirs"}
    )
    push = background()
    push.push(write(tmp_path / "model", {"a": "1"}), "checkpoints/latest", "step 1")
    assert push.close(60) == []
    assert on_hub(fake_hub) == {"README.md": "theirs", "checkpoints/other": "theirs", "checkpoints/latest/a": "1"}


def test_waiting_ends_when_the_program_is_told_to_end(fake_hub, background, tmp_path):
    fake_hub.faults += ["hang"]
    push = background()
    push.push(write(tmp_path / "model", {"a": "1"}), "", "step 1")
    answers = iter([False, True])
    assert push.close(1e9, stop=lambda: next(answers)) == [""]


def test_closing_again_reports_the_same_without_a_second_warning(fake_hub, background, warnings, tmp_path):
    fake_hub.faults += ["hang"]
    push = background()
    push.push(write(tmp_path / "model", {"a": "1"}), "", "step 1")
    assert push.close(0) == push.close(60) == [""]
    assert len(warnings.records) == 1


def test_a_card_that_the_hub_refuses_is_a_warning_with_the_hubs_words(fake_hub, background, warnings, tmp_path):
    push = background()
    push.push(write(tmp_path / "model", {"README.md": "---\nlicense: of my own\n---\n"}), "", "step 1")
    assert push.close(60) == [""]
    assert '"license" must be one of [' in warnings.records[0].message
    assert push.failed == 1


def test_what_cannot_be_set_aside_is_a_warning(fake_hub, background, warnings, tmp_path):
    (tmp_path / "a-file").write_text("")
    push = background()
    push.staging_dir = tmp_path / "a-file"
    push.push(write(tmp_path / "model", {"a": "1"}), "", "step 1")
    assert push.failed == 1
    assert "cannot be set aside" in warnings.records[0].message


def test_an_empty_or_missing_folder_removes_nothing_from_the_hub(fake_hub, background, warnings, tmp_path):
    push = background()
    push.push(write(tmp_path / "model", {"a": "1"}), "checkpoints/latest", "step 1")
    wait_until(lambda: push.pushed == 1)
    push.push(tmp_path / "missing", "checkpoints/latest", "step 2")
    push.push(write(tmp_path / "excluded", {"optimizer.pt": "o"}), "checkpoints/latest", "step 3")
    assert push.close(60) == ["checkpoints/latest"]
    assert on_hub(fake_hub) == {"checkpoints/latest/a": "1"}
    assert "there are no files in" in warnings.records[0].message and push.failed == 2


PROGRAM = """
import sys, time
from pathlib import Path
from diffusers_tryon.hub.push import BackgroundPush
push = BackgroundPush("me/run", False, Path(sys.argv[1]))
push.push(Path(sys.argv[2]), "", "step 1")
print("pushing", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_the_program_at_once_and_its_upload_with_it(fake_hub, tmp_path, number):
    fake_hub.faults += ["hang"]
    write(tmp_path / "model", {"a": "1"})
    arguments = [sys.executable, "-c", PROGRAM, str(tmp_path / "staging"), str(tmp_path / "model")]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment, text=True) as program:
        assert program.stdout.readline() == "pushing\n"
        wait_until(lambda: fake_hub.requests)
        (upload,) = children(program.pid)
        program.send_signal(number)
        assert program.wait(PATIENCE_SECONDS) == -number
    wait_until(lambda: not is_running(upload))


def children(pid: int) -> list[int]:
    return [
        int(text) for task in Path(f"/proc/{pid}/task").iterdir() for text in (task / "children").read_text().split()
    ]
