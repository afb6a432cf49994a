// Asks a gate for decisions, with @connectrpc/connect and the schemas that protoc-gen-es generates.
//
// Usage: client.ts GATE FLAKY. FLAKY is a proxy of the gate that refuses every first attempt. Connect has no service config and
// no retries, so the program repeats a call itself.

import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { BadRequestSchema, ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { type Decision, Verdict } from "./gen/scangate/v1/decision_pb.js";
import { PolicyMode } from "./gen/scangate/v1/policy_pb.js";
import { PolicyService } from "./gen/scangate/v1/policy_service_pb.js";
import { ScanGateService } from "./gen/scangate/v1/scan_gate_service_pb.js";

type Gate = Client<typeof ScanGateService>;

const MAX_ATTEMPTS = 4;
const [address, flaky] = process.argv.slice(2);

function connect(address: string): Gate {
  return createClient(ScanGateService, createGrpcTransport({ baseUrl: `http://${address}` }));
}

function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(`failed: ${what}`);
  console.log(`ts-connect: ${what}`);
}

/** Repeats a call that is UNAVAILABLE, after the pushback of the server. The attempt is marked as gRPC libraries do. */
async function retry<R>(call: (headers: Record<string, string>) => Promise<R>): Promise<R> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call(attempt > 1 ? { "grpc-previous-rpc-attempts": `${attempt - 1}` } : {});
    } catch (error) {
      const { code, metadata } = ConnectError.from(error);
      const pushback = Number(metadata.get("grpc-retry-pushback-ms") ?? 200 * 2 ** (attempt - 1));
      if (code !== Code.Unavailable || attempt === MAX_ATTEMPTS || !(pushback >= 0)) throw error;
      await setTimeout(pushback);
    }
  }
}

async function evaluate(gate: Gate, image: string): Promise<Decision> {
  const request = { image, environment: "prod", requestId: randomUUID() };
  const { decision } = await retry((headers) => gate.evaluateGate(request, { timeoutMs: 20_000, headers }));
  if (!decision) throw new Error("no decision");
  return decision;
}

async function checkError(gate: Gate): Promise<void> {
  const error = await evaluate(gate, "").then(
    () => new ConnectError("no error"),
    (error) => ConnectError.from(error),
  );
  check(error.code === Code.InvalidArgument, "an empty image is INVALID_ARGUMENT");
  const [info] = error.findDetails(ErrorInfoSchema);
  check(info?.reason === "INVALID_FIELDS", `its reason is ${info?.reason}`);
  const [request] = error.findDetails(BadRequestSchema);
  check(request?.fieldViolations[0]?.field === "image", "its violation names the field");
}

async function checkPages(gate: Gate): Promise<void> {
  let [count, pages, pageToken, total] = [0, 0, "", 0];
  do {
    const page = await gate.getFindings({ image: "shop/web:1.4.2", pageSize: 50, pageToken }, { timeoutMs: 30_000 });
    [count, pages, pageToken, total] = [count + page.findings.length, pages + 1, page.nextPageToken, page.totalSize];
  } while (pageToken);
  check(pages > 1 && count === total, `${count} findings on ${pages} pages`);
}

async function checkWrite(): Promise<void> {
  const policies = createClient(PolicyService, createGrpcTransport({ baseUrl: `http://${address}` }));
  const policyId = `connect-${randomUUID().slice(0, 8)}`;
  const policy = { mode: PolicyMode.WARN };
  const created = await policies.createPolicy({ policyId, policy, requestId: randomUUID() });
  const { name, etag } = created.policy ?? { name: "", etag: "" };
  await policies.deletePolicy({ name, etag, requestId: randomUUID() });
  check(name === `policies/${policyId}`, "a policy is written and deleted");
}

const gate = connect(address);
const allowed = await evaluate(gate, "shop/api:2.0.0");
check(allowed.verdict === Verdict.ALLOW && allowed.deployImage.includes("@sha256:"), `deploy ${allowed.deployImage}`);
const denied = await evaluate(gate, "shop/web:1.4.2");
check(denied.verdict === Verdict.DENY && denied.deployImage === "", "a DENY has no deployImage");
check(denied.reasons[0] !== "", `its reason: ${denied.reasons[0]}`);
await checkError(gate);
await checkPages(gate);
await checkWrite();

const began = Date.now();
const retried = await evaluate(connect(flaky), "shop/api:2.0.0");
const elapsed = Date.now() - began;
check(retried.verdict === Verdict.ALLOW && elapsed >= 1000, `repeated after a pushback of 1 s (${elapsed} ms)`);
process.exit(0);
