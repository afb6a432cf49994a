//! Processes of tests: our own binaries, and the tools that `tests/run` installs.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdout, Command},
};

/// The time a server may take to listen.
const START_TIMEOUT: Duration = Duration::from_mins(3);

/// The folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A binary of the workspace, in the folder that has this test's own binary.
pub fn binary(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let path = deps.ancestors().nth(2).unwrap().join(name);
    assert!(path.exists(), "{} is not built: run tests/run", path.display());
    path
}

/// A tool that `tests/run` installs, e.g. `bin/grpcurl` or `venv/bin/aws`.
pub fn tool(path: &str) -> PathBuf {
    let tools = std::env::var_os("SCANGATE_TOOLS").map_or_else(|| root().join(".tools"), PathBuf::from);
    let path = tools.join(path);
    assert!(path.exists(), "{} is not installed: run tests/run", path.display());
    path
}

/// Runs the aws CLI against an endpoint, with invalid credentials.
pub async fn aws(endpoint: &str, arguments: &[&str]) -> Output {
    with_test_credentials(Command::new(tool("venv/bin/aws")))
        .args(["--endpoint-url", endpoint, "--output", "json"])
        .args(arguments)
        .output()
        .await
        .unwrap()
}

/// Runs a script with the Python that has boto3.
pub async fn python(script: &str, arguments: &[&str]) -> Output {
    with_test_credentials(Command::new(tool("venv/bin/python")))
        .args(["-c", script])
        .args(arguments)
        .output()
        .await
        .unwrap()
}

/// Sets credentials that AWS would reject, and removes those of the environment of the tests, and the server's own variables.
pub fn with_test_credentials(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("AWS_") || (text.starts_with("SCANGATE_") && text != "SCANGATE_TOOLS") {
            command.env_remove(&name);
        }
    }
    command
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_DEFAULT_REGION", "eu-west-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_PAGER", "");
    command
}

/// The standard output of a program that succeeded; panics on a failure.
#[track_caller]
pub fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The JSON on the standard output of a program that succeeded.
#[track_caller]
pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

/// A loopback address with a port that was free at the time of the call.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A server process, killed when dropped.
pub struct Server {
    child: Child,
    /// The address on which it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts a program and waits until it listens on the address.
    pub async fn start(mut command: Command, address: SocketAddr) -> Self {
        let child = command.kill_on_drop(true).stdin(Stdio::null()).spawn().unwrap();
        let mut server = Self { child, address };
        let began = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            assert!(server.child.try_wait().unwrap().is_none(), "{command:?} ended");
            assert!(began.elapsed() < START_TIMEOUT, "{command:?} does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    /// Sends SIGKILL: no handler runs.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Waits until the process has ended.
    pub async fn wait(mut self) -> std::process::ExitStatus {
        self.child.wait().await.unwrap()
    }

    /// The lines of its standard output.
    pub fn stdout_lines(&mut self) -> Lines<BufReader<ChildStdout>> {
        BufReader::new(self.child.stdout.take().unwrap()).lines()
    }
}

/// Starts `scangate-server serve` as a process.
pub async fn serve(ecr: &str, store: &Path) -> Server {
    let address = free_address();
    let mut command = with_test_credentials(Command::new(binary("scangate-server")));
    command
        .args(["serve", "--log", "warn", "--registry", super::REGISTRY, "--ecr-endpoint", ecr, "--store"])
        .arg(store);
    command.args(["--ops-listen", "none", "--listen", &address.to_string()]);
    Server::start(command, address).await
}
