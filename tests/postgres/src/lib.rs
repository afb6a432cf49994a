//! A private PostgreSQL server for a test: its own directory, its own port on loopback, stopped by its own process id.
//!
//! Its defaults are unlike those that a developer's machine has: text sorts as in English and not by bytes, and transactions are
//! serializable. What relies on either, without saying so, fails here and not at somebody's company.

mod link;

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

pub use self::link::Link;

/// The user that the server runs as where the tests run as root, whom it refuses.
const USER: &str = "postgres";
/// How long the server may take to come up.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server; stops when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    directory: TempDir,
    port: u16,
    server: Option<Child>,
    databases: AtomicU32,
}

impl Cluster {
    /// Makes a server and starts it.
    pub fn start() -> Self {
        let mut cluster = Self::nowhere();
        run(as_user(&cluster.programs.join("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=scangate", "--encoding=UTF8", "--locale=C"])
            .args(["--locale-provider=icu", "--icu-locale=en-US", "-D"])
            .arg(cluster.data()));
        cluster.start_server();
        cluster
    }

    /// Makes a copy of the server that follows it, and takes no writes.
    #[must_use]
    pub fn standby(&self) -> Self {
        let mut standby = Self::nowhere();
        run(as_user(&self.programs.join("pg_basebackup"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "scangate"])
            .args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "-D"])
            .arg(standby.data()));
        standby.start_server();
        standby
    }

    /// A place for a server, and a port.
    fn nowhere() -> Self {
        let directory = TempDir::new().unwrap();
        if is_root() {
            run(Command::new("chown").arg(USER).arg(directory.path()));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { programs: programs(), directory, port, server: None, databases: AtomicU32::new(0) }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Where it listens.
    pub fn socket(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The same database as another server has it, or as a link leads to it.
    pub fn over(url: &str, socket: SocketAddr) -> String {
        let (_, name) = url.rsplit_once('/').unwrap();
        format!("postgres://scangate@{socket}/{name}")
    }

    /// Turns on TLS with this certificate and key, and turns away who does not use it.
    pub fn require_tls(&mut self, certificate: &str, key: &str) {
        let data = self.data();
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

    /// The address of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        run(self.client("createdb").arg(&name));
        format!("postgres://scangate@127.0.0.1:{}/{name}", self.port)
    }

    /// Stops the server as a crash would: nothing is flushed, nobody is told.
    pub fn crash(&mut self) {
        self.signal("QUIT");
        self.server.take().unwrap().wait().unwrap();
    }

    /// Starts the server again.
    pub fn start_server(&mut self) {
        let data = self.data();
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
        let began = Instant::now();
        while !self.client("pg_isready").stdout(Stdio::null()).status().unwrap().success() {
            assert!(began.elapsed() < PATIENCE, "PostgreSQL does not start:\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Holds every process of the server where it is.
    pub fn pause(&self) {
        self.signal_all("STOP");
    }

    /// Lets them go on.
    pub fn resume(&self) {
        self.signal_all("CONT");
    }

    /// Cuts every connection to a database.
    pub fn cut_connections(&self) {
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname is not null";
        run(self.client("psql").args(["-d", "postgres", "-c", cut]).stdout(Stdio::null()));
    }

    /// Runs a statement in a database of [`Cluster::database`].
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
            // One that has just ended needs no signal.
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

/// A program as a user whom the server does not refuse.
fn as_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(program);
    // Where the tests stand need not be a place that this user may see.
    command.current_dir("/");
    command
}

/// Where the server's programs are: on the path, or where Debian puts them.
fn programs() -> PathBuf {
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
        .expect("PostgreSQL is not installed: tests/run installs it")
}
