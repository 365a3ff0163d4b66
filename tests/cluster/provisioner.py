"""Volumes: makes, grows and removes what claims ask for, as a CSI driver would. A process of its own in the cluster.

Two classes, both on one node's disk and made when a pod that uses the claim is scheduled:

    local    (default) a folder; its size is a number that nobody enforces
    sized    a tmpfs of exactly the size asked for: it is full when it is full, and grows under its pod

A claim that grew gets its new size at once. A volume whose claim is gone is removed with its data when its policy is
Delete, and kept when it is Retain. Restarting loses nothing: all state is in the API and on disk.

    python provisioner.py KUBECONFIG FOLDER
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from api import Api
from sandbox import run

NAME: Final = "cachefleet.io/local"
DEFAULT: Final = "local"
SIZED: Final = "sized"
PAUSE_S: Final = 0.2
VOLUMES: Final = "/api/v1/persistentvolumes"
UNITS: Final = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "k": 10**3, "M": 10**6, "G": 10**9, "": 1}


def create_classes(api: Api) -> None:
    for name in (DEFAULT, SIZED):
        default = {"storageclass.kubernetes.io/is-default-class": "true"} if name == DEFAULT else {}
        body = {
            "metadata": {"name": name, "annotations": default},
            "provisioner": NAME,
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": True,
        }
        api.post("/apis/storage.k8s.io/v1/storageclasses", body)


def size_bytes(quantity: str) -> int:
    digits = quantity.rstrip("KMGTik")
    return int(digits) * UNITS[quantity[len(digits) :]]


class Provisioner:
    """`folder` holds one folder per volume, named like it."""

    def __init__(self, api: Api, folder: Path) -> None:
        self.api = api
        self.folder = folder

    def step(self) -> None:
        volumes = {volume["metadata"]["name"]: volume for volume in self.api.get(VOLUMES)["items"]}
        for claim in self.api.get("/api/v1/persistentvolumeclaims")["items"]:
            volume = volumes.get(claim["spec"].get("volumeName", ""))
            if self._wanted(claim) and f"pvc-{claim['metadata']['uid']}" not in volumes:
                self._make(claim)
            elif volume and self._ours(volume) and claim["status"]["phase"] == "Bound":
                self._grow(claim, volume)
        for volume in volumes.values():
            released = volume["status"].get("phase") == "Released"
            deleting = "deletionTimestamp" in volume["metadata"]
            delete = volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
            if self._ours(volume) and released and delete and not deleting:
                self._remove(volume)

    @staticmethod
    def _wanted(claim: dict[str, Any]) -> bool:
        annotations = claim["metadata"].get("annotations", {})
        waits = claim["status"]["phase"] == "Pending" and "volume.kubernetes.io/selected-node" in annotations
        return waits and claim["spec"].get("storageClassName") in (DEFAULT, SIZED)

    @staticmethod
    def _ours(volume: dict[str, Any]) -> bool:
        return bool(volume["metadata"].get("annotations", {}).get("pv.kubernetes.io/provisioned-by") == NAME)

    def _make(self, claim: dict[str, Any]) -> None:
        meta, spec = claim["metadata"], claim["spec"]
        name, size = f"pvc-{meta['uid']}", spec["resources"]["requests"]["storage"]
        path = self.folder / name
        if not path.exists():
            path.mkdir(parents=True)
            if spec["storageClassName"] == SIZED:
                run("mount", "-t", "tmpfs", "-o", f"size={size_bytes(size)},mode=755", NAME, path)
        node = meta["annotations"]["volume.kubernetes.io/selected-node"]
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
        reference = {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "uid": meta["uid"]}
        body = {
            "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": NAME}},
            "spec": {
                "capacity": {"storage": size},
                "accessModes": spec["accessModes"],
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": spec["storageClassName"],
                "local": {"path": str(path)},
                "claimRef": {**reference, "name": meta["name"], "namespace": meta["namespace"]},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            },
        }
        self.api.post(VOLUMES, body)
        print("made", name, size, "for", meta["namespace"], meta["name"], flush=True)

    def _grow(self, claim: dict[str, Any], volume: dict[str, Any]) -> None:
        meta, name = claim["metadata"], volume["metadata"]["name"]
        size = claim["spec"]["resources"]["requests"]["storage"]
        capacity = {"capacity": {"storage": size}}
        if claim["status"]["capacity"]["storage"] == size:
            return
        if claim["spec"]["storageClassName"] == SIZED:
            run("mount", "-o", f"remount,size={size_bytes(size)}", self.folder / name)
        self.api.patch(f"{VOLUMES}/{name}", {"spec": capacity})
        path = f"/api/v1/namespaces/{meta['namespace']}/persistentvolumeclaims/{meta['name']}/status"
        self.api.patch(path, {"status": capacity})
        print("grew", name, size, flush=True)

    def _remove(self, volume: dict[str, Any]) -> None:
        name = volume["metadata"]["name"]
        path = self.folder / name
        if path.is_mount():
            run("umount", path)
        shutil.rmtree(path, ignore_errors=True)
        self.api.delete(f"{VOLUMES}/{name}")
        print("removed", name, flush=True)


def main(kubeconfig: str, folder: str) -> None:
    provisioner = Provisioner(Api(Path(kubeconfig), agent="provisioner"), Path(folder))
    while True:
        try:
            provisioner.step()
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # the API server may be away
            print(f"again: {error!r}", flush=True)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
