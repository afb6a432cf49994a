//! A simulator on a manual clock, SDK clients for it, and plain HTTP.
#![expect(clippy::unwrap_used, reason = "a panic reports a failure of the harness")]

use std::time::Duration;

use aws_sdk_ecr::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use aws_sdk_ecr::types::ImageIdentifier;
use scangate_ecr_simulator::{Clock, Simulator, World};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A world on 2026-03-01 at noon, on a clock that only the test advances.
pub(crate) fn world() -> World {
    World::with_clock(Clock::manual("2026-03-01T12:00:00Z".parse().unwrap()))
}

pub(crate) async fn start(world: World) -> (Simulator, aws_sdk_ecr::Client) {
    let simulator = Simulator::start_local(world).await.unwrap();
    let config = aws_sdk_ecr::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(simulator.endpoint())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .build();
    (simulator, aws_sdk_ecr::Client::from_conf(config))
}

pub(crate) fn inspector(simulator: &Simulator) -> aws_sdk_inspector2::Client {
    let config = aws_sdk_inspector2::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(simulator.endpoint())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .build();
    aws_sdk_inspector2::Client::from_conf(config)
}

pub(crate) fn tag(tag: &str) -> ImageIdentifier {
    ImageIdentifier::builder().image_tag(tag).build()
}

pub(crate) fn digest(digest: &str) -> ImageIdentifier {
    ImageIdentifier::builder().image_digest(digest).build()
}

/// The error code of a call, or "no error".
pub(crate) fn code<O, E>(response: Result<O, aws_sdk_ecr::error::SdkError<E>>) -> String
where
    E: aws_sdk_ecr::error::ProvideErrorMetadata,
{
    use aws_sdk_ecr::error::ProvideErrorMetadata as _;

    match response {
        Ok(_) => "no error".to_owned(),
        Err(error) => error.code().unwrap_or("no code").to_owned(),
    }
}

/// A response as raw text.
#[derive(Debug)]
pub(crate) struct RawResponse {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl RawResponse {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Sends an ECR call over a plain socket. `None` if the connection closed without a response.
pub(crate) async fn ecr(simulator: &Simulator, operation: &str, body: &Value) -> Option<RawResponse> {
    let target = format!("x-amz-target: AmazonEC2ContainerRegistry_V20150921.{operation}\r\n");
    http(simulator, "POST", "/", &target, &body.to_string()).await
}

pub(crate) async fn http(
    simulator: &Simulator,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Option<RawResponse> {
    let mut stream = TcpStream::connect(simulator.addr()).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: simulator\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_millis(700), stream.read_to_end(&mut bytes)).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    read.ok()?.ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(RawResponse { status, head: head.to_owned(), body: body.to_owned() })
}
