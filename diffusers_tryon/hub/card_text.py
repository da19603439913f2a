# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""The text of a card: generated blocks are put into what people wrote, and nothing that they wrote is lost.

A generated block lies between two comments, `<!-- generated: NAME -->` and `<!-- end of generated: NAME -->`. Of the
front matter, whole entries are replaced; others keep their form and their comments.
"""

import re
from dataclasses import dataclass
from typing import Any

import yaml


_START = re.compile(r"<!-- generated: ([\w-]+) -->")
_END = "<!-- end of generated: {} -->"
_FRONT_MATTER = re.compile(r"\A---\n(.*?)^---(?:\n|\Z)", flags=re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r"([\w.-]+):(?:\s|\Z)")


@dataclass(frozen=True)
class Block:
    """A generated block of a template.

    Attributes:
        name: of the block.
        heading: the line "## ..." that it stands under; "" is the beginning of the card.
        text: with its two marks.
    """

    name: str
    heading: str
    text: str


def split_card(card: str) -> tuple[str, str]:
    """The front matter without its dashes, "" if there is none, and the rest."""
    found = _FRONT_MATTER.match(card)
    return (found[1], card[found.end() :]) if found else ("", card)


def read_front_matter(card: str) -> dict[str, Any]:
    """The entries of a card's front matter.

    Raises:
        ValueError: it is no YAML, or no mapping.
    """
    try:
        entries = yaml.safe_load(split_card(card)[0]) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"The front matter is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(entries, dict):
        raise ValueError(f"The front matter must have entries, got {entries!r}.")
    return entries


def refresh_card(existing: str, front_matter: dict[str, Any], rendered: str) -> str:
    """Put what is generated into a card.

    Args:
        existing (`str`): The card, or "" if there is none.
        front_matter (`dict`): Entries to replace or add; those that are `None` are removed.
        rendered (`str`): A filled template: a line "# ...", and blocks under lines "## ...".

    Returns:
        `str`: the card. A block takes the place of the one of its name; without one it goes under its heading, and
        without that the heading goes to the end of the section before it in the template.

    Raises:
        ValueError: a mark of a generated block in `existing` lacks its other half, or there are two blocks of a name.
    """
    old_entries, old_body = split_card(existing.replace("\r\n", "\n"))
    body = old_body if old_body.strip() else _skeleton(rendered)
    return f"---\n{refresh_front_matter(old_entries, front_matter)}---\n\n{_refresh_body(body, find_blocks(rendered)).lstrip()}"


def refresh_front_matter(existing: str, entries: dict[str, Any]) -> str:
    """Replace top-level entries in the text of a front matter and leave all others as they are written."""
    parts: list[tuple[str | None, str]] = []
    for line in existing.splitlines(keepends=True):
        entry = _ENTRY.match(line)
        if entry or line.startswith("#") or not parts:
            parts.append((entry[1] if entry else None, line))
        else:
            parts[-1] = (parts[-1][0], parts[-1][1] + line)
    written = {
        name: yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=True, width=1 << 16)
        for name, value in entries.items()
        if value is not None
    }
    kept = [written.pop(name, "") if name in entries else text for name, text in parts]
    return "".join([*kept, *written.values()])


def find_blocks(card: str) -> list[Block]:
    """The generated blocks of a card, in their order.

    Raises:
        ValueError: a mark lacks its other half, or there are two blocks of a name.
    """
    blocks, heading, position = [], "", 0
    body = split_card(card)[1]
    while found := _START.search(body, position):
        heading = ([heading] + _headings(body[position : found.start()]))[-1]
        name, end_mark = found[1], _END.format(found[1])
        end = body.find(end_mark, found.end())
        if end < 0:
            raise ValueError(f"The card has the mark {found[0]!r}, but not {end_mark!r} after it.")
        if name in (block.name for block in blocks):
            raise ValueError(f"The card has two generated blocks {name!r}; remove one.")
        position = end + len(end_mark)
        blocks.append(Block(name, heading, body[found.start() : position]))
    return blocks


def _skeleton(rendered: str) -> str:
    """What a filled template has beside its blocks: title and headings."""
    for block in find_blocks(rendered):
        rendered = rendered.replace(block.text, "")
    return re.sub(r"\n{3,}", "\n\n", rendered).strip() + "\n"


def _refresh_body(body: str, blocks: list[Block]) -> str:
    names = [block.name for block in blocks]
    for old in find_blocks(body):
        fresh = blocks[names.index(old.name)].text if old.name in names else ""
        body = body.replace(old.text, fresh)
    present = {block.name for block in find_blocks(body)}
    for index, block in enumerate(blocks):
        if block.name not in present:
            headings = list(dict.fromkeys(block.heading for block in blocks[: index + 1]))
            body = _insert(body, block, headings)
    return body


def _insert(body: str, block: Block, headings: list[str]) -> str:
    """Put a block under its heading, the last of `headings`, which go before it in the template."""
    if not block.heading:
        title = re.search(r"^# .*\n", body, flags=re.MULTILINE)
        at = title.end() if title else 0
        return f"{body[:at]}\n{block.text}\n\n{body[at:].lstrip()}"
    sections = _sections(body)
    for heading, start, _ in sections:
        if heading.lower() == block.heading.lower():
            at = body.index("\n", start) + 1 if "\n" in body[start:] else len(body)
            return f"{body[:at]}\n{block.text}\n\n{body[at:].lstrip()}".rstrip() + "\n"
    before = [end for heading, _, end in sections if heading.lower() in [name.lower() for name in headings]]
    at = before[-1] if before else (sections[0][1] if sections else len(body))
    return f"{body[:at].rstrip()}\n\n{block.heading}\n\n{block.text}\n\n{body[at:]}".rstrip() + "\n"


def _sections(body: str) -> list[tuple[str, int, int]]:
    """(heading, start, end) of the sections "## ..."; what stands in code is no heading."""
    starts, is_code, position = [], False, 0
    for line in body.splitlines(keepends=True):
        if line.lstrip().startswith(("```", "~~~")):
            is_code = not is_code
        elif line.startswith("## ") and not is_code:
            starts.append((line.strip(), position))
        position += len(line)
    ends = [start for _, start in starts[1:]] + [len(body)]
    return [(heading, start, end) for (heading, start), end in zip(starts, ends)]


def _headings(text: str) -> list[str]:
    return [heading for heading, _, _ in _sections(text)]
