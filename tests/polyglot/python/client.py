"""Asks a gate for decisions, with grpcio and the stubs that grpcio-tools generates.

Usage: client.py GATE FLAKY SERVICE_CONFIG. FLAKY is a proxy of the gate that refuses every first attempt.
"""

import sys
import time
import uuid

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from scangate.v1 import policy_service_pb2, policy_service_pb2_grpc
from scangate.v1 import decision_pb2, scan_gate_service_pb2, scan_gate_service_pb2_grpc

ALLOW = decision_pb2.VERDICT_ALLOW
DENY = decision_pb2.VERDICT_DENY


def connect(address: str, service_config: str) -> grpc.Channel:
    return grpc.insecure_channel(address, options=[("grpc.service_config", service_config)])


def evaluate(gate, image: str):
    request = scan_gate_service_pb2.EvaluateGateRequest(
        image=image, environment="prod", request_id=str(uuid.uuid4())
    )
    return gate.EvaluateGate(request, timeout=20).decision


def check(condition: bool, what: str) -> None:
    if not condition:
        sys.exit(f"python: failed: {what}")
    print(f"python: {what}")


def error_details(error: grpc.RpcError):
    status = rpc_status.from_call(error)
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(request.DESCRIPTOR):
            detail.Unpack(request)
    return info, request


def check_error(gate) -> None:
    try:
        evaluate(gate, "")
    except grpc.RpcError as error:
        info, request = error_details(error)
        check(error.code() == grpc.StatusCode.INVALID_ARGUMENT, "an empty image is INVALID_ARGUMENT")
        check(info.reason == "INVALID_FIELDS", f"its reason is {info.reason}")
        check(request.field_violations[0].field == "image", "its violation names the field")
    else:
        check(False, "an empty image is an error")


def check_pages(gate) -> None:
    count, pages, token = 0, 0, ""
    while pages == 0 or token:
        page = gate.GetFindings(
            scan_gate_service_pb2.GetFindingsRequest(image="shop/web:1.4.2", page_size=50, page_token=token)
        )
        count, pages, token = count + len(page.findings), pages + 1, page.next_page_token
    check(pages > 1 and count == page.total_size, f"{count} findings on {pages} pages")


def check_write(channel: grpc.Channel) -> None:
    policies = policy_service_pb2_grpc.PolicyServiceStub(channel)
    policy_id, request_id = f"python-{uuid.uuid4().hex[:8]}", str(uuid.uuid4())
    # A retried write applies once because it carries a request_id.
    created = policies.CreatePolicy(
        policy_service_pb2.CreatePolicyRequest(policy_id=policy_id, policy={"mode": "POLICY_MODE_WARN"}, request_id=request_id)
    )
    deleted = policy_service_pb2.DeletePolicyRequest(
        name=created.policy.name, etag=created.policy.etag, request_id=str(uuid.uuid4())
    )
    policies.DeletePolicy(deleted)
    check(created.policy.name == f"policies/{policy_id}", "a policy is written and deleted")


def main(address: str, flaky: str, config_path: str) -> None:
    with open(config_path, encoding="utf-8") as file:
        service_config = file.read()
    with connect(address, service_config) as channel:
        gate = scan_gate_service_pb2_grpc.ScanGateServiceStub(channel)
        allowed = evaluate(gate, "shop/api:2.0.0")
        check(allowed.verdict == ALLOW and "@sha256:" in allowed.deploy_image, f"deploy {allowed.deploy_image}")
        denied = evaluate(gate, "shop/web:1.4.2")
        check(denied.verdict == DENY and not denied.deploy_image, "a DENY has no deploy_image")
        check(bool(denied.reasons[0]), f"its reason: {denied.reasons[0]}")
        check_error(gate)
        check_pages(gate)
        check_write(channel)
    with connect(flaky, service_config) as channel:
        began = time.monotonic()
        retried = evaluate(scan_gate_service_pb2_grpc.ScanGateServiceStub(channel), "shop/api:2.0.0")
        elapsed = time.monotonic() - began
        check(retried.verdict == ALLOW and elapsed >= 1, f"retried after a pushback of 1 s ({elapsed:.1f} s)")


main(*sys.argv[1:])
