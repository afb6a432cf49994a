//! The examples of the policy manual against the server: each policy alone, and beside `policies/default`.

use scangate_ecr_simulator::World;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{
    Gate, gate,
    tools::{root, tool},
};

/// A fenced JSON block, and the image and verdict of each table row up to the next block.
#[derive(Debug, Default)]
struct Example {
    refused: bool,
    policy: String,
    verdicts: Vec<(String, String)>,
}

fn examples(manual: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut inside = false;
    for line in manual.lines() {
        match line {
            "```json" | "```json refused" => {
                examples.push(Example { refused: line.ends_with("refused"), ..Example::default() });
                inside = true;
            }
            "```" => inside = false,
            line if inside => examples.last_mut().unwrap().policy.push_str(line),
            line => {
                let cells: Vec<&str> = line.split('|').map(str::trim).collect();
                if let ["", image, verdict @ ("ALLOW" | "DENY" | "INDETERMINATE"), ..] = cells[..] {
                    let verdict = (image.trim_matches('`').to_owned(), format!("VERDICT_{verdict}"));
                    examples.last_mut().unwrap().verdicts.push(verdict);
                }
            }
        }
    }
    examples
}

/// Calls a method with grpcurl and returns the response, or the error output.
async fn call(gate: &Gate, method: &str, request: &Value) -> Result<Value, String> {
    let output = Command::new(tool("bin/grpcurl"))
        .args(["-plaintext", "-d", &request.to_string(), &gate.address.to_string()])
        .arg(format!("scangate.v1.{method}"))
        .output()
        .await
        .unwrap();
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// A policy that is stored beside the default, with the image, environment and verdict of each table row.
#[derive(Debug, Default)]
struct StoredExample {
    policy: String,
    verdicts: Vec<[String; 3]>,
}

fn stored_examples(manual: &str) -> Vec<StoredExample> {
    let mut examples: Vec<StoredExample> = Vec::new();
    let (mut inside, mut stored) = (false, false);
    for line in manual.lines() {
        match line {
            "```json stored" => {
                examples.push(StoredExample::default());
                (inside, stored) = (true, true);
            }
            "```" => inside = false,
            line if line.starts_with("```") => stored = false,
            line if inside && stored => examples.last_mut().unwrap().policy.push_str(line),
            line if stored => {
                let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
                if let ["", image, environment, verdict @ ("ALLOW" | "DENY" | "INDETERMINATE"), ..] = cells[..] {
                    let row = [image.to_owned(), environment.to_owned(), format!("VERDICT_{verdict}")];
                    examples.last_mut().unwrap().verdicts.push(row);
                }
            }
            _ => {}
        }
    }
    examples
}

#[tokio::test]
async fn manual_examples_beside_default_match_server() {
    let manual = std::fs::read_to_string(root().join("docs/policies.md")).unwrap();

    let examples = stored_examples(&manual);

    assert!(examples.len() >= 3 && examples.iter().all(|example| example.verdicts.len() >= 2), "{examples:?}");
    for example in examples {
        let gate = gate(World::demo()).start().await;
        let policy: Value = serde_json::from_str(&example.policy).unwrap();
        call(&gate, "PolicyService/CreatePolicy", &json!({ "policy_id": "example", "policy": policy })).await.unwrap();
        for [image, environment, verdict] in &example.verdicts {
            let request = json!({ "image": image, "environment": environment });
            let decided = call(&gate, "ScanGateService/EvaluateGate", &request).await.unwrap();
            let decision = &decided["decision"];
            assert_eq!(&decision["verdict"], verdict, "{image} in {environment}: {:#}", decision["reasons"]);
        }
    }
}

#[tokio::test]
async fn policy_manual_examples_match_server() {
    let gate = gate(World::demo()).start().await;
    let manual = std::fs::read_to_string(root().join("docs/policies.md")).unwrap();

    let examples = examples(&manual);

    assert!(examples.iter().filter(|example| !example.verdicts.is_empty()).count() >= 6);
    for (index, example) in examples.iter().enumerate() {
        let policy: Value = serde_json::from_str(&example.policy).unwrap();
        let id = format!("example-{index}");
        let created = call(&gate, "PolicyService/CreatePolicy", &json!({ "policy_id": id, "policy": policy })).await;
        if example.refused {
            assert!(created.unwrap_err().contains("InvalidArgument"), "{policy}");
            continue;
        }
        created.unwrap();
        for (image, verdict) in &example.verdicts {
            let request = json!({ "image": image, "policy": format!("policies/{id}") });
            let simulated = call(&gate, "ScanGateService/SimulateGate", &request).await.unwrap();
            let simulation = &simulated["simulation"];
            assert_eq!(&simulation["verdict"], verdict, "{image} under {policy}: {:#}", simulation["reasons"]);
        }
    }
}
