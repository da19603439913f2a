# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Render the photographs that the human parser and the pose network are trained and measured on.

    python training/render_labelled.py --out data/labelled --workers 2

The same command goes on after a kill.
"""

import argparse
from pathlib import Path

from diffusers_tryon.rendering.labelled_pool import write_labelled_pool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pool")
    parser.add_argument("--size", type=int, default=256, help="height and width in pixels")
    parser.add_argument("--train-people", type=int, default=4000, help="people of the training split, 4 pictures each")
    parser.add_argument("--test-people", type=int, default=100, help="people of the test split, 4 pictures each")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    arguments = parser.parse_args()
    for split, people in (("test", arguments.test_people), ("train", arguments.train_people)):
        write_labelled_pool(arguments.out, people, arguments.size, split, arguments.workers)


if __name__ == "__main__":
    main()
