"""In which order the files of the tests are shared out over several workers.

A worker that gets a long file last keeps the others waiting for it, so long files come first. Files that start
processes wait for them about half of their time, and two federations at once want more than two cores give: they are
spread among the files that compute, so that one fills the other's pauses.
"""

from collections.abc import Iterable, Sequence

WITH_PROCESSES = ("federation", "web", "deploy", "bench")
COMPUTING = ("evil", "node", "broker", "policy", "proto")
"""Folders of tests, each with the longest files first; a folder that stands nowhere comes at the very end."""


def in_turn(files: Iterable[str]) -> list[str]:
    """These files (tests/FOLDER/NAME) in the order in which workers get them."""
    groups: dict[int, list[str]] = {0: [], 1: [], 2: []}
    for file in sorted(files, key=_place):
        groups[_group(file)].append(file)
    spread = [
        (index / len(group), number, file)
        for number, group in groups.items()
        if number < 2
        for index, file in enumerate(group)
    ]
    return [file for _, _, file in sorted(spread)] + groups[2]


def _group(file: str) -> int:
    folder = _folder(file)
    return next((number for number, group in enumerate((WITH_PROCESSES, COMPUTING)) if folder in group), 2)


def _place(file: str) -> tuple[int, str]:
    known: Sequence[str] = (*WITH_PROCESSES, *COMPUTING)
    folder = _folder(file)
    return known.index(folder) if folder in known else len(known), file


def _folder(file: str) -> str:
    return file.split("/")[1]
