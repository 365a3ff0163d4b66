"""The folders of a pod: files of its ConfigMaps and Secrets, and the data of a pod that has no claim.

    <pod>/config/ auth/     what their volumes hold, and nothing else of ours
    <pod>/data/             an emptyDir: as old as its pod
    <pod>/made.json         {folder: [files]}: what a pod has made there, so that it, and nothing else, is removed

The note is written before what it speaks of, and names it until it is gone. A process sees no mounts: of the volumes
of a pod only those are written that its variables name (api/names.py), whatever others the pod has.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from cachefleet_operator.api import names
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.local.paths import below, private_folder, replace_file

WRITTEN = (names.VOLUME_CONFIG, names.VOLUME_AUTH)
NOTE = "made.json"

Files = Mapping[str, Mapping[str, bytes]]  # volume -> relative path -> content
Made = dict[str, list[str]]


def mount(pod: Path, files: Files) -> None:
    """Brings the volumes' folders where `files` wants them. Raises OSError and ExecutionError."""
    wanted = {volume: files[volume] for volume in WRITTEN if volume in files}
    paths = {volume: {path: below(pod / volume, path) for path in content} for volume, content in wanted.items()}
    before = _made(pod)
    for volume in WRITTEN:
        folder = below(pod, volume)
        for path in sorted(set(before.get(volume, ())) - set(wanted.get(volume, ()))):
            _remove(folder, path)
    _note(pod, before, {**before, **{volume: sorted(wanted.get(volume, ())) for volume in WRITTEN}})
    for volume, content in wanted.items():
        private_folder(pod / volume)
        for path, data in content.items():
            target = paths[volume][path]
            if not target.is_file() or target.read_bytes() != data:
                private_folder(target.parent)
                replace_file(target, data)


def empty_data(pod: Path) -> Path:
    """The data folder of a pod without a claim, empty. Raises OSError and ExecutionError."""
    folder, before = below(pod, names.VOLUME_DATA), _made(pod)
    if names.VOLUME_DATA in before:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
    elif folder.exists() and any(folder.iterdir()):
        raise ExecutionError(f"{folder} is not of this pod's making: it is not emptied; move it away")
    _note(pod, before, {**before, names.VOLUME_DATA: []})
    private_folder(folder)
    return folder


def _remove(folder: Path, path: str) -> None:
    """A file, and the folders inside `folder` that it leaves empty."""
    file = below(folder, path)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        file.unlink()
    for parent in file.parents:
        if parent == folder:
            break
        with contextlib.suppress(OSError):
            parent.rmdir()


def _made(pod: Path) -> Made:
    """What an earlier pod noted; what cannot be read names nothing, and nothing is removed."""
    try:
        noted = json.loads(below(pod, NOTE).read_bytes())
        return {str(folder): [str(path) for path in paths] for folder, paths in noted.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _note(pod: Path, before: Made, now: Made) -> None:
    if now != before:
        replace_file(pod / NOTE, json.dumps(now).encode())
