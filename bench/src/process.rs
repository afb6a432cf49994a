//! Server processes, and the CPU time that Linux reports for a process.

use std::{
    io::{BufRead, BufReader},
    iter,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Clock ticks per second in `/proc`: the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A server in its own process, pinned to the first core. It is killed when dropped.
pub(crate) struct ServerProcess {
    child: Child,
    pub(crate) address: String,
}

impl ServerProcess {
    /// Starts the gate over stores in this directory, by the bench's own program.
    pub(crate) fn start_gate(state: &Path, flags: &[String]) -> Self {
        Self::start_gate_of(&std::env::current_exe().unwrap(), state, flags)
    }

    /// Starts the gate of another build of the bench.
    pub(crate) fn start_gate_of(program: &Path, state: &Path, flags: &[String]) -> Self {
        let mut arguments = vec!["serve-gate", state.to_str().unwrap()];
        arguments.extend(flags.iter().map(String::as_str));
        Self::start(program, &arguments)
    }

    /// Starts the peer, which returns the response in the file. The other arguments are those of its TLS.
    pub(crate) fn start_peer(response: &Path, tls: &[String]) -> Self {
        let arguments: Vec<&str> =
            iter::once(response.to_str().unwrap()).chain(tls.iter().map(String::as_str)).collect();
        Self::start(&find_program("scangate-bench-peer"), &arguments)
    }

    /// Starts a program that prints its address as its first line.
    fn start(program: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("taskset not found; install util-linux, which pins the servers to a core");
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { child, address: address.trim().to_owned() }
    }

    /// The process id, as in `/proc`.
    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Pins this process to all cores but the first, which the servers have alone. The programs that it starts inherit that: the
/// scheduler would else run PostgreSQL on the core of the gate that wakes it.
pub(crate) fn leave_first_core() {
    let last = std::thread::available_parallelism().unwrap().get() - 1;
    let pid = std::process::id().to_string();
    let mut pin = Command::new("taskset");
    pin.args(["-a", "-c", "-p", &format!("1-{last}"), &pid]).stdout(Stdio::null());
    assert!(
        pin.status().is_ok_and(|status| status.success()),
        "the bench needs two cores, and taskset from util-linux"
    );
}

/// Runs another program of the bench to its end.
pub(crate) fn run_program(name: &str) {
    let status = Command::new(find_program(name)).status().unwrap();
    assert!(status.success(), "{name}: {status}");
}

fn find_program(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap().with_file_name(name);
    assert!(program.exists(), "{name} not found; run `cargo build --release -p scangate-bench`");
    program
}

/// The CPU time of a process in seconds. `process` is its id or `self`.
pub(crate) fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name in parentheses may contain spaces. After it, `utime` and `stime` are fields 12 and 13.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS_PER_SECOND
}
