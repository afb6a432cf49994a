// Asks a gate for decisions, with grpc-go and the code that protoc-gen-go and protoc-gen-go-grpc generate.
//
// Usage: release GATE FLAKY SERVICE_CONFIG. FLAKY is a proxy of the gate that refuses every first attempt.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	scangatev1 "example.com/release/gen/scangate/v1"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("go: ")
	address, flaky := os.Args[1], os.Args[2]
	serviceConfig, err := os.ReadFile(os.Args[3])
	must(err)
	conn := connect(address, serviceConfig)
	gate := scangatev1.NewScanGateServiceClient(conn)

	allowed, err := evaluate(gate, "shop/api:2.0.0")
	must(err)
	isAllowed := allowed.GetVerdict() == scangatev1.Verdict_VERDICT_ALLOW
	check(isAllowed && strings.Contains(allowed.GetDeployImage(), "@sha256:"), "deploy "+allowed.GetDeployImage())
	denied, err := evaluate(gate, "shop/web:1.4.2")
	must(err)
	isDenied := denied.GetVerdict() == scangatev1.Verdict_VERDICT_DENY
	check(isDenied && denied.GetDeployImage() == "", "a DENY has no deploy_image")
	check(denied.GetReasons()[0] != "", "its reason: "+denied.GetReasons()[0])
	checkError(gate)
	checkPages(gate)
	checkWrite(scangatev1.NewPolicyServiceClient(conn))

	began := time.Now()
	retried, err := evaluate(scangatev1.NewScanGateServiceClient(connect(flaky, serviceConfig)), "shop/api:2.0.0")
	must(err)
	elapsed := time.Since(began)
	isAllowed = retried.GetVerdict() == scangatev1.Verdict_VERDICT_ALLOW
	check(isAllowed && elapsed >= time.Second, fmt.Sprintf("retried after a pushback of 1 s (%v)", elapsed))
}

func connect(address string, serviceConfig []byte) *grpc.ClientConn {
	conn, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(string(serviceConfig)))
	must(err)
	return conn
}

func evaluate(gate scangatev1.ScanGateServiceClient, image string) (*scangatev1.Decision, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	response, err := gate.EvaluateGate(ctx, &scangatev1.EvaluateGateRequest{
		Image:       image,
		Environment: "prod",
		RequestId:   uuid.NewString(),
	})
	return response.GetDecision(), err
}

func checkError(gate scangatev1.ScanGateServiceClient) {
	_, err := evaluate(gate, "")
	check(status.Code(err) == codes.InvalidArgument, "an empty image is INVALID_ARGUMENT")
	var reason, field string
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = detail.GetReason()
		case *errdetails.BadRequest:
			field = detail.GetFieldViolations()[0].GetField()
		}
	}
	check(reason == "INVALID_FIELDS", "its reason is "+reason)
	check(field == "image", "its violation names the field")
}

func checkPages(gate scangatev1.ScanGateServiceClient) {
	request := &scangatev1.GetFindingsRequest{Image: "shop/web:1.4.2", PageSize: 50}
	for count, pages := 0, 1; ; pages++ {
		page, err := gate.GetFindings(context.Background(), request)
		must(err)
		count += len(page.GetFindings())
		request.PageToken = page.GetNextPageToken()
		if request.PageToken == "" {
			check(pages > 1 && count == int(page.GetTotalSize()), fmt.Sprintf("%d findings on %d pages", count, pages))
			return
		}
	}
}

func checkWrite(policies scangatev1.PolicyServiceClient) {
	id := "go-" + uuid.NewString()[:8]
	// A retried write applies once because it carries a request_id.
	created, err := policies.CreatePolicy(context.Background(), &scangatev1.CreatePolicyRequest{
		PolicyId:  id,
		Policy:    &scangatev1.Policy{Mode: scangatev1.PolicyMode_POLICY_MODE_WARN},
		RequestId: uuid.NewString(),
	})
	must(err)
	policy := created.GetPolicy()
	_, err = policies.DeletePolicy(context.Background(), &scangatev1.DeletePolicyRequest{
		Name:      policy.GetName(),
		Etag:      policy.GetEtag(),
		RequestId: uuid.NewString(),
	})
	must(err)
	check(policy.GetName() == "policies/"+id, "a policy is written and deleted")
}

func check(condition bool, what string) {
	if !condition {
		log.Fatalf("failed: %s", what)
	}
	log.Print(what)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
