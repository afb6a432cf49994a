//! A private PostgreSQL server for a test: its own directory, its own port on loopback, stopped by its own process id.
//!
//! Its defaults differ from those of a typical developer's machine: text sorts by English rules instead of by bytes, and
//! transactions are serializable. Code that silently relies on the usual defaults fails here instead of in production.

mod tcp_proxy;

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

pub use self::tcp_proxy::TcpProxy;

/// The server's user if the tests run as root, because PostgreSQL refuses to run as root.
const USER: &str = "postgres";
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A PostgreSQL server. It stops when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    directory: TempDir,
    port: u16,
    server: Option<Child>,
    next_database: AtomicU32,
}

impl Cluster {
    /// Creates a server and starts it.
    pub fn start() -> Self {
        let mut cluster = Self::allocate();
        run(as_user(&cluster.programs.join("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=scangate", "--encoding=UTF8", "--locale=C"])
            .args(["--locale-provider=icu", "--icu-locale=en-US", "-D"])
            .arg(cluster.data_directory()));
        cluster.start_server();
        cluster
    }

    /// Starts a hot standby of the server: a read-only replica.
    #[must_use]
    pub fn standby(&self) -> Self {
        let mut standby = Self::allocate();
        run(as_user(&self.programs.join("pg_basebackup"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "scangate"])
            .args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "-D"])
            .arg(standby.data_directory()));
        standby.start_server();
        standby
    }

    /// Allocates a directory and a port for a server.
    fn allocate() -> Self {
        let directory = TempDir::new().unwrap();
        if is_root() {
            run(Command::new("chown").arg(USER).arg(directory.path()));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { programs: find_programs(), directory, port, server: None, next_database: AtomicU32::new(0) }
    }

    fn data_directory(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The address of the listening socket.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The URL of the same database on a standby or through a [`TcpProxy`].
    pub fn url_at(url: &str, address: SocketAddr) -> String {
        let (_, name) = url.rsplit_once('/').unwrap();
        format!("postgres://scangate@{address}/{name}")
    }

    /// Enables TLS with this certificate and key, refuses connections without TLS, and restarts the server.
    pub fn require_tls(&mut self, certificate: &str, key: &str) {
        let data = self.data_directory();
        for (name, content) in [("server.crt", certificate), ("server.key", key)] {
            let file = data.join(name);
            fs::write(&file, content).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            if is_root() {
                run(Command::new("chown").arg(USER).arg(&file));
            }
        }
        let mut settings = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
        writeln!(settings, "ssl = on").unwrap();
        fs::write(data.join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 trust\nlocal all all trust\n").unwrap();
        self.crash();
        self.start_server();
    }

    /// Creates an empty database, and returns its URL.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.next_database.fetch_add(1, Ordering::Relaxed));
        run(self.client("createdb").arg(&name));
        format!("postgres://scangate@127.0.0.1:{}/{name}", self.port)
    }

    /// Stops the server at once, like a crash: nothing is flushed.
    pub fn crash(&mut self) {
        self.signal("QUIT");
        self.server.take().unwrap().wait().unwrap();
    }

    /// Starts the server again.
    pub fn start_server(&mut self) {
        let data = self.data_directory();
        let log = fs::File::options().create(true).append(true).open(self.directory.path().join("log")).unwrap();
        let server = as_user(&self.programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"])
            .args(["-c", "default_transaction_isolation=serializable"])
            .arg("-k")
            .arg(self.directory.path())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(server);
        let start = Instant::now();
        while !self.client("pg_isready").stdout(Stdio::null()).status().unwrap().success() {
            assert!(start.elapsed() < START_TIMEOUT, "PostgreSQL does not start; its log:\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops all processes of the server with SIGSTOP.
    pub fn pause(&self) {
        self.signal_all("STOP");
    }

    /// Resumes all processes of the server after [`Cluster::pause`].
    pub fn resume(&self) {
        self.signal_all("CONT");
    }

    /// Terminates all client connections.
    pub fn terminate_connections(&self) {
        let terminate = "select pg_terminate_backend(pid) from pg_stat_activity \
                         where pid <> pg_backend_pid() and datname is not null";
        run(self.client("psql").args(["-d", "postgres", "-c", terminate]).stdout(Stdio::null()));
    }

    /// Executes a statement in a database of [`Cluster::database`].
    pub fn execute(&self, url: &str, statement: &str) {
        let (_, name) = url.rsplit_once('/').unwrap();
        run(self
            .client("psql")
            .args(["-v", "ON_ERROR_STOP=1", "-q", "-c", statement, "-d", name])
            .stdout(Stdio::null()));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-h").arg(self.directory.path()).args(["-p", &self.port.to_string(), "-U", "scangate"]);
        command
    }

    fn postmaster(&self) -> String {
        let file = fs::read_to_string(self.directory.path().join("data/postmaster.pid")).unwrap();
        file.lines().next().unwrap().to_owned()
    }

    fn signal(&self, signal: &str) {
        run(Command::new("kill").arg(format!("-{signal}")).arg(self.postmaster()));
    }

    fn signal_all(&self, signal: &str) {
        let postmaster = self.postmaster();
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", &postmaster]).output().unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        let pids = std::iter::once(postmaster.as_str()).chain(children.split_whitespace());
        for pid in pids {
            // A process may have ended since `ps`; then `kill` fails, which does no harm.
            Command::new("kill").arg(format!("-{signal}")).arg(pid).stderr(Stdio::null()).status().unwrap();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            self.resume();
            self.signal("QUIT");
            server.wait().ok();
        }
    }
}

fn run(command: &mut Command) {
    let output = command.stderr(Stdio::piped()).stdin(Stdio::null());
    let output = output.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.trim_ascii() == b"0"
}

/// A command that runs as [`USER`] if the tests run as root.
fn as_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(program);
    // The user may have no access to the tests' working directory.
    command.current_dir("/");
    command
}

/// Finds the directory of the server's programs: the last version in Debian's directory, else one on the path.
fn find_programs() -> PathBuf {
    let on_path =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut installed: Vec<PathBuf> = installed.map(|version| version.path().join("bin")).collect();
    installed.sort();
    installed
        .into_iter()
        .rev()
        .chain(on_path)
        .find(|folder| {
            ["initdb", "postgres", "pg_basebackup", "pg_isready", "createdb", "psql"]
                .iter()
                .all(|name| folder.join(name).exists())
        })
        .expect("PostgreSQL not found; run tests/run, which installs it")
}
