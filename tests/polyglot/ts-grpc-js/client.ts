// Asks a gate for decisions, with @grpc/grpc-js and the clients that ts-proto generates.
//
// Usage: client.ts GATE FLAKY SERVICE_CONFIG. FLAKY is a proxy of the gate that refuses every first attempt.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { ChannelCredentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { BadRequest, ErrorInfo } from "./gen/google/rpc/error_details.js";
import { Status } from "./gen/google/rpc/status.js";
import { type Decision, Verdict } from "./gen/scangate/v1/decision.js";
import { PolicyMode } from "./gen/scangate/v1/policy.js";
import {
  CreatePolicyRequest,
  type CreatePolicyResponse,
  DeletePolicyRequest,
  type DeletePolicyResponse,
  PolicyServiceClient,
} from "./gen/scangate/v1/policy_service.js";
import {
  EvaluateGateRequest,
  GetFindingsRequest,
  type GetFindingsResponse,
  ScanGateServiceClient,
} from "./gen/scangate/v1/scan_gate_service.js";

const [address, flaky, configPath] = process.argv.slice(2);
const options = { "grpc.service_config": readFileSync(configPath, "utf8") };

type Callback<R> = (error: ServiceError | null, response: R) => void;

/** Turns a call with a callback into a promise. */
function call<R>(start: (callback: Callback<R>) => void): Promise<R> {
  return new Promise((resolve, reject) => {
    start((error, response) => (error ? reject(error) : resolve(response)));
  });
}

function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(`failed: ${what}`);
  console.log(`ts-grpc-js: ${what}`);
}

async function evaluate(gate: ScanGateServiceClient, image: string): Promise<Decision> {
  const request = EvaluateGateRequest.fromPartial({ image, environment: "prod", requestId: randomUUID() });
  const deadline = Date.now() + 20_000;
  const response = await call((callback: Callback<{ decision?: Decision }>) =>
    gate.evaluateGate(request, new Metadata(), { deadline }, callback),
  );
  if (!response.decision) throw new Error("no decision");
  return response.decision;
}

/** The details that grpc-js leaves encoded in the trailers. */
function details(error: ServiceError): { info: ErrorInfo; request: BadRequest } {
  const [encoded] = error.metadata.get("grpc-status-details-bin");
  const any = Status.decode(encoded as Buffer).details;
  const find = (name: string) => any.find((detail) => detail.typeUrl.endsWith(name))?.value ?? new Uint8Array();
  return { info: ErrorInfo.decode(find("google.rpc.ErrorInfo")), request: BadRequest.decode(find("google.rpc.BadRequest")) };
}

async function checkError(gate: ScanGateServiceClient): Promise<void> {
  const error = await evaluate(gate, "").then(
    () => undefined,
    (error: ServiceError) => error,
  );
  check(error?.code === status.INVALID_ARGUMENT, "an empty image is INVALID_ARGUMENT");
  const { info, request } = details(error as ServiceError);
  check(info.reason === "INVALID_FIELDS", `its reason is ${info.reason}`);
  check(request.fieldViolations[0].field === "image", "its violation names the field");
}

async function checkPages(gate: ScanGateServiceClient): Promise<void> {
  let [count, pages, pageToken, total] = [0, 0, "", 0];
  do {
    const request = GetFindingsRequest.fromPartial({ image: "shop/web:1.4.2", pageSize: 50, pageToken });
    const page = await call((callback: Callback<GetFindingsResponse>) => gate.getFindings(request, callback));
    [count, pages, pageToken, total] = [count + page.findings.length, pages + 1, page.nextPageToken, page.totalSize];
  } while (pageToken);
  check(pages > 1 && count === total, `${count} findings on ${pages} pages`);
}

async function checkWrite(policies: PolicyServiceClient): Promise<void> {
  const policyId = `grpc-js-${randomUUID().slice(0, 8)}`;
  // A retried write applies once because it carries a requestId.
  const request = CreatePolicyRequest.fromPartial({
    policyId,
    policy: { mode: PolicyMode.POLICY_MODE_WARN },
    requestId: randomUUID(),
  });
  const created = await call((callback: Callback<CreatePolicyResponse>) => policies.createPolicy(request, callback));
  const { name, etag } = created.policy ?? { name: "", etag: "" };
  const deletion = DeletePolicyRequest.fromPartial({ name, etag, requestId: randomUUID() });
  await call((callback: Callback<DeletePolicyResponse>) => policies.deletePolicy(deletion, callback));
  check(name === `policies/${policyId}`, "a policy is written and deleted");
}

const credentials = ChannelCredentials.createInsecure();
const gate = new ScanGateServiceClient(address, credentials, options);
const allowed = await evaluate(gate, "shop/api:2.0.0");
const isAllowed = allowed.verdict === Verdict.VERDICT_ALLOW && allowed.deployImage.includes("@sha256:");
check(isAllowed, `deploy ${allowed.deployImage}`);
const denied = await evaluate(gate, "shop/web:1.4.2");
check(denied.verdict === Verdict.VERDICT_DENY && denied.deployImage === "", "a DENY has no deployImage");
check(denied.reasons[0] !== "", `its reason: ${denied.reasons[0]}`);
await checkError(gate);
await checkPages(gate);
await checkWrite(new PolicyServiceClient(address, credentials, options));

const began = Date.now();
const retried = await evaluate(new ScanGateServiceClient(flaky, credentials, options), "shop/api:2.0.0");
const elapsed = Date.now() - began;
const isRetried = retried.verdict === Verdict.VERDICT_ALLOW && elapsed >= 1000;
check(isRetried, `retried after a pushback of 1 s (${elapsed} ms)`);
process.exit(0);
