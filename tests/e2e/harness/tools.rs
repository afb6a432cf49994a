//! Programs from outside: our own binaries and the peers that `tests/run` installs.

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

const START: Duration = Duration::from_mins(1);

/// The workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A program of ours, beside this test's own.
pub fn binary(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let path = deps.ancestors().nth(2).unwrap().join(name);
    assert!(path.exists(), "{} is not built: run tests/run", path.display());
    path
}

/// A peer that `tests/run` installs, e.g. `bin/grpcurl` or `venv/bin/aws`.
pub fn tool(path: &str) -> PathBuf {
    let tools = std::env::var_os("SCANGATE_TOOLS").map_or_else(|| root().join(".tools"), PathBuf::from);
    let path = tools.join(path);
    assert!(path.exists(), "{} is not installed: run tests/run", path.display());
    path
}

/// The aws CLI against an endpoint, with credentials that mean nothing.
pub async fn aws(endpoint: &str, arguments: &[&str]) -> Output {
    credentials(Command::new(tool("venv/bin/aws")))
        .args(["--endpoint-url", endpoint, "--output", "json"])
        .args(arguments)
        .output()
        .await
        .unwrap()
}

/// A python of the virtual environment that has boto3, running a script.
pub async fn python(script: &str, arguments: &[&str]) -> Output {
    credentials(Command::new(tool("venv/bin/python"))).args(["-c", script]).args(arguments).output().await.unwrap()
}

/// With AWS credentials that no AWS would take, and without those of whoever runs the tests.
pub fn credentials(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
        command.env_remove(name);
    }
    command
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_DEFAULT_REGION", "eu-west-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_PAGER", "");
    command
}

/// What a program printed, having ended well.
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

/// The JSON that a program printed.
#[track_caller]
pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

/// A port that was free a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A server in a process of its own, killed when dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts a program that listens on the address, and waits until it does.
    pub async fn start(mut command: Command, address: SocketAddr) -> Self {
        let child = command.kill_on_drop(true).stdin(Stdio::null()).spawn().unwrap();
        let mut server = Self { child, address };
        let began = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            assert!(server.child.try_wait().unwrap().is_none(), "{command:?} ended");
            assert!(began.elapsed() < START, "{command:?} does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    /// Kills it as the kernel does: no handler runs.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Its id as a process.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> std::process::ExitStatus {
        self.child.wait().await.unwrap()
    }

    /// What it prints.
    pub fn lines(&mut self) -> Lines<BufReader<ChildStdout>> {
        BufReader::new(self.child.stdout.take().unwrap()).lines()
    }
}

/// `scangate-server serve` in a process of its own.
pub async fn serve(ecr: &str, store: &Path) -> Server {
    let address = free_address();
    let mut command = credentials(Command::new(binary("scangate-server")));
    command
        .args(["serve", "--log", "warn", "--registry", super::REGISTRY, "--ecr-endpoint", ecr, "--store"])
        .arg(store);
    command.args(["--listen", &address.to_string()]);
    Server::start(command, address).await
}
