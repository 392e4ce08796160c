"""Containers, Kubernetes, pinned requirements and the bill of materials: held against schemas, linters and the code.

No container runs in these tests: no image can be pulled where they run.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from bekend_broker.config import load_config
from jsonschema import Draft7Validator
from referencing import Registry
from referencing.jsonschema import DRAFT7

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUSTOMIZE = DEPLOY / "kustomize"
OVERLAYS = sorted(path.parent.name for path in KUSTOMIZE.glob("overlays/*/kustomization.yaml"))
SCHEMAS = Path(str(files("cyclonedx.schema"))) / "_res"
GATEWAY = "gateway.networking.k8s.io/v1"


def tool(name: str) -> str:
    """A tool of the extra `test`, beside this Python or on PATH."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    assert found is not None, f"{name} is missing: pip install -e '.[test]'"
    return found


def run(name: str, *words: object) -> str:
    done = subprocess.run(
        [tool(name), *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def built(overlay: str) -> list[Any]:
    """The objects that kustomize makes of an overlay."""
    return list(yaml.safe_load_all(run("kubectl", "kustomize", KUSTOMIZE / "overlays" / overlay)))


def of_kind(objects: list[Any], kind: str) -> dict[str, Any]:
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


def test_the_compose_file_fits_the_schema_of_compose() -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


def test_every_service_of_the_compose_file_is_confined() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert set(services) == {"broker", "node"}
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["ulimits"]["core"] == 1
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"] == "10001:10001"
        assert not {"privileged", "network_mode", "pid"} & set(service)
    assert "ports" not in services["node"]


def test_the_linter_finds_nothing_in_the_containerfile() -> None:
    assert run("hadolint", DEPLOY / "Containerfile") == ""


def test_the_linters_find_faults(tmp_path: Path) -> None:
    wrong = tmp_path / "Containerfile"
    wrong.write_text("FROM debian\nRUN apt-get install curl\n")
    (tmp_path / "compose.yaml").write_text("services: {node: {imag: x}}\n")
    for words in (
        ("hadolint", wrong),
        ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", tmp_path / "compose.yaml"),
    ):
        done = subprocess.run([tool(str(words[0])), *map(str, words[1:])], capture_output=True, check=False)
        assert done.returncode == 1


def test_the_image_installs_what_was_verified_and_runs_as_nobody_special() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    assert "--no-index" in text
    assert "--require-hashes" in text
    assert re.search(r"^USER 10001:10001$", text, re.M)
    assert not re.search(r"^(ADD|EXPOSE|VOLUME)\b", text, re.M)


def test_no_image_has_a_tag_that_moves() -> None:
    text = (DEPLOY / "Containerfile").read_text() + (DEPLOY / "compose.yaml").read_text()
    for image in re.findall(r"^(?:FROM|\s*image:) (\S+)", text, re.M):
        assert re.search(r":\d", image), image


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_kustomize_makes_fits_the_schemas_of_kubernetes(overlay: str, tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    objects = built(overlay)
    known = [one for one in objects if one["apiVersion"] != GATEWAY]
    path.write_text(yaml.safe_dump_all(known))
    said = run("kubernetes-validate", "--strict", path)
    assert said.count(" passed for resource ") == len(known)
    assert "WARN" not in said


def test_the_validator_finds_faults(tmp_path: Path) -> None:
    objects = built(OVERLAYS[0])
    of_kind(objects, "StatefulSet")["broker"]["spec"]["replica"] = 2
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(of_kind(objects, "StatefulSet").values()))
    done = subprocess.run([tool("kubernetes-validate"), "--strict", str(path)], capture_output=True, check=False)
    assert done.returncode != 0


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_replica_has_a_host_name_whose_tls_passes_through(overlay: str) -> None:
    """The schemas at hand do not know Gateway API: what must hold of it is looked at here."""
    objects = built(overlay)
    replicas = of_kind(objects, "StatefulSet")["broker"]["spec"]["replicas"]
    pods = {f"broker-{number}" for number in range(replicas)}
    listeners = {one["name"]: one for one in of_kind(objects, "Gateway")["broker"]["spec"]["listeners"]}
    routes = of_kind(objects, "TLSRoute")
    services = of_kind(objects, "Service")
    assert set(listeners) == set(routes) == pods == set(services) - {"broker"}
    hosts = set()
    for name in pods:
        listener, route = listeners[name], routes[name]["spec"]
        assert (listener["protocol"], listener["port"], listener["tls"]) == ("TLS", 443, {"mode": "Passthrough"})
        assert route["hostnames"] == [listener["hostname"]]
        assert route["parentRefs"] == [{"name": "broker", "sectionName": name}]
        assert route["rules"] == [{"backendRefs": [{"name": name, "port": 443}]}]
        assert services[name]["spec"]["selector"]["statefulset.kubernetes.io/pod-name"] == name
        hosts.add(listener["hostname"])
    assert len(hosts) == replicas


def containers(objects: list[Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for one in objects:
        if one["kind"] == "StatefulSet":
            pod = one["spec"]["template"]["spec"]
            yield from ((pod, container) for container in (*pod["initContainers"], *pod["containers"]))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_has_no_more_rights_than_it_needs(overlay: str) -> None:
    objects = built(overlay)
    for pod, container in containers(objects):
        inside = pod["securityContext"]
        assert inside["runAsNonRoot"] is True
        assert inside["runAsUser"] == 10001
        assert inside["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        assert pod["automountServiceAccountToken"] is False
    namespace = next(iter(of_kind(objects, "Namespace").values()))
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_broker_may_talk_to_the_database_and_to_nobody_else(overlay: str) -> None:
    policy = of_kind(built(overlay), "NetworkPolicy")["broker"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    out = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert out == {53, 5432}
    assert all(rule["to"] for rule in policy["egress"])
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == {7443, 9443}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_one_replica_stays_while_machines_are_emptied(overlay: str) -> None:
    objects = built(overlay)
    budget = of_kind(objects, "PodDisruptionBudget")["broker"]["spec"]
    labels = of_kind(objects, "StatefulSet")["broker"]["spec"]["template"]["metadata"]["labels"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= labels.items()


SAMPLES = [KUSTOMIZE / "base" / "broker.yaml", *(KUSTOMIZE / "overlays" / name / "broker.yaml" for name in OVERLAYS)]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.parent.name)
def test_every_configuration_in_a_config_map_is_valid_and_mounted(sample: Path) -> None:
    config = load_config(sample)
    overlay = sample.parent.name if sample.parent.name != "base" else OVERLAYS[0]
    _, broker = list(containers(built(overlay)))[-1]
    mounts = [Path(mount["mountPath"]) for mount in broker["volumeMounts"]]
    for path in (config.data, config.keys, config.covenant, config.manifest, config.tls.key):
        assert any(mount == path or mount in path.parents for mount in mounts), path
    ports = {port["name"]: port["containerPort"] for port in broker["ports"]}
    assert config.metrics is not None
    assert (config.listen, config.metrics) == (f"0.0.0.0:{ports['grpc']}", f"0.0.0.0:{ports['metrics']}")


def test_requirements_and_bill_of_materials_are_those_of_the_lock() -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        [sys.executable, str(DEPLOY / "pin.py"), "--check"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_bill_of_materials_fits_the_schema_of_CycloneDX() -> None:
    schemas = {path.name: json.loads(path.read_text()) for path in SCHEMAS.glob("*.schema.json")}
    named_schemas = [
        (f"http://cyclonedx.org/schema/{name}", DRAFT7.create_resource(one)) for name, one in schemas.items()
    ]
    registry: Registry[Any] = Registry().with_resources(named_schemas)
    made = json.loads((DEPLOY / "sbom.cdx.json").read_text())
    check = Draft7Validator(schemas["bom-1.5.SNAPSHOT.schema.json"], registry=registry)
    assert [fault.message for fault in check.iter_errors(made)] == []
    assert not check.is_valid(made | {"components": [{"name": "without a type"}]})
    named = {f"{one['name']}=={one['version']}" for one in made["components"]}
    pinned = set(re.findall(r"^([\w.-]+==[\w.]+)", (DEPLOY / "requirements.txt").read_text(), re.M))
    assert named == pinned


def test_every_requirement_is_pinned_by_hash() -> None:
    blocks = re.split(r"\n(?=\S)", (DEPLOY / "requirements.txt").read_text().split("\n", 1)[1].rstrip())
    assert len(blocks) > 30
    for block in blocks:
        assert re.match(r"[\w.-]+==\S+", block), block
        assert "--hash=sha256:" in block
