package release;

import com.google.gson.Gson;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import dev.scangate.v1.CreatePolicyRequest;
import dev.scangate.v1.Decision;
import dev.scangate.v1.DeletePolicyRequest;
import dev.scangate.v1.EvaluateGateRequest;
import dev.scangate.v1.GetFindingsRequest;
import dev.scangate.v1.GetFindingsResponse;
import dev.scangate.v1.Policy;
import dev.scangate.v1.PolicyMode;
import dev.scangate.v1.PolicyServiceGrpc;
import dev.scangate.v1.ScanGateServiceGrpc;
import dev.scangate.v1.ScanGateServiceGrpc.ScanGateServiceBlockingStub;
import dev.scangate.v1.Verdict;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.FileReader;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/**
 * Asks a gate for decisions, with grpc-java.
 *
 * <p>Arguments: GATE FLAKY SERVICE_CONFIG. FLAKY is a proxy of the gate that refuses every first attempt.
 */
public final class Main {
  public static void main(String[] arguments) throws Exception {
    Map<String, ?> serviceConfig;
    try (FileReader file = new FileReader(arguments[2])) {
      serviceConfig = new Gson().fromJson(file, Map.class);
    }
    ManagedChannel channel = connect(arguments[0], serviceConfig);
    ScanGateServiceBlockingStub gate = ScanGateServiceGrpc.newBlockingStub(channel);

    Decision allowed = evaluate(gate, "shop/api:2.0.0");
    boolean isAllowed = allowed.getVerdict() == Verdict.VERDICT_ALLOW;
    check(isAllowed && allowed.getDeployImage().contains("@sha256:"), "deploy " + allowed.getDeployImage());
    Decision denied = evaluate(gate, "shop/web:1.4.2");
    boolean isDenied = denied.getVerdict() == Verdict.VERDICT_DENY;
    check(isDenied && denied.getDeployImage().isEmpty(), "a DENY has no deploy_image");
    check(!denied.getReasons(0).isEmpty(), "its reason: " + denied.getReasons(0));
    checkError(gate);
    checkPages(gate);
    checkWrite(PolicyServiceGrpc.newBlockingStub(channel));
    channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);

    ManagedChannel flaky = connect(arguments[1], serviceConfig);
    long began = System.nanoTime();
    Decision retried = evaluate(ScanGateServiceGrpc.newBlockingStub(flaky), "shop/api:2.0.0");
    long elapsed = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - began);
    isAllowed = retried.getVerdict() == Verdict.VERDICT_ALLOW;
    check(isAllowed && elapsed >= 1000, "retried after a pushback of 1 s (" + elapsed + " ms)");
    flaky.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
  }

  private static ManagedChannel connect(String address, Map<String, ?> serviceConfig) {
    return Grpc.newChannelBuilder(address, InsecureChannelCredentials.create())
        .defaultServiceConfig(serviceConfig)
        .build();
  }

  private static Decision evaluate(ScanGateServiceBlockingStub gate, String image) {
    EvaluateGateRequest request =
        EvaluateGateRequest.newBuilder()
            .setImage(image)
            .setEnvironment("prod")
            .setRequestId(UUID.randomUUID().toString())
            .build();
    return gate.withDeadlineAfter(20, TimeUnit.SECONDS).evaluateGate(request).getDecision();
  }

  private static void checkError(ScanGateServiceBlockingStub gate) throws Exception {
    try {
      evaluate(gate, "");
      check(false, "an empty image is an error");
    } catch (StatusRuntimeException error) {
      check(error.getStatus().getCode() == Status.Code.INVALID_ARGUMENT, "an empty image is INVALID_ARGUMENT");
      String reason = "";
      String field = "";
      for (com.google.protobuf.Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          reason = detail.unpack(ErrorInfo.class).getReason();
        } else if (detail.is(BadRequest.class)) {
          field = detail.unpack(BadRequest.class).getFieldViolations(0).getField();
        }
      }
      check(reason.equals("INVALID_FIELDS"), "its reason is " + reason);
      check(field.equals("image"), "its violation names the field");
    }
  }

  private static void checkPages(ScanGateServiceBlockingStub gate) {
    int count = 0;
    int pages = 0;
    GetFindingsResponse page = GetFindingsResponse.getDefaultInstance();
    do {
      GetFindingsRequest request =
          GetFindingsRequest.newBuilder()
              .setImage("shop/web:1.4.2")
              .setPageSize(50)
              .setPageToken(page.getNextPageToken())
              .build();
      page = gate.getFindings(request);
      count += page.getFindingsCount();
      pages++;
    } while (!page.getNextPageToken().isEmpty());
    check(pages > 1 && count == page.getTotalSize(), count + " findings on " + pages + " pages");
  }

  private static void checkWrite(PolicyServiceGrpc.PolicyServiceBlockingStub policies) {
    String id = "java-" + UUID.randomUUID().toString().substring(0, 8);
    // A retried write applies once because it carries a request_id.
    CreatePolicyRequest creation =
        CreatePolicyRequest.newBuilder()
            .setPolicyId(id)
            .setPolicy(Policy.newBuilder().setMode(PolicyMode.POLICY_MODE_WARN))
            .setRequestId(UUID.randomUUID().toString())
            .build();
    Policy created = policies.createPolicy(creation).getPolicy();
    DeletePolicyRequest deletion =
        DeletePolicyRequest.newBuilder()
            .setName(created.getName())
            .setEtag(created.getEtag())
            .setRequestId(UUID.randomUUID().toString())
            .build();
    policies.deletePolicy(deletion);
    check(created.getName().equals("policies/" + id), "a policy is written and deleted");
  }

  private static void check(boolean condition, String what) {
    if (!condition) {
      throw new AssertionError("failed: " + what);
    }
    System.out.println("java: " + what);
  }
}
