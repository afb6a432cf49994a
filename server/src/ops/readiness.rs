//! The readiness of the server: the results of its checks, as of the latest probe.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;

/// A check and its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name, e.g. `decision_log`.
    pub name: &'static str,
    /// The reason for which it fails; `None` if it succeeds.
    pub problem: Option<&'static str>,
}

/// The results of all checks.
#[derive(Debug)]
pub struct Readiness {
    checks: ArcSwap<Vec<Check>>,
    is_stopping: AtomicBool,
}

impl Readiness {
    /// The readiness of a server that has run no check: it is not ready.
    pub fn starting() -> Self {
        let starting = Check { name: "start", problem: Some("the first checks are running") };
        Self { checks: ArcSwap::from_pointee(vec![starting]), is_stopping: AtomicBool::new(false) }
    }

    /// Sets the results of the checks.
    pub fn set(&self, checks: Vec<Check>) {
        self.checks.store(checks.into());
    }

    /// Lets the server be unready for good, since it shuts down.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// True if every check succeeds, and the server is not shutting down.
    pub fn is_ready(&self) -> bool {
        !self.is_stopping() && self.checks.load().iter().all(|check| check.problem.is_none())
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }
}

impl fmt::Display for Readiness {
    /// Writes one line for each check.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stopping = self.is_stopping().then_some("the server shuts down");
        let checks = self.checks.load();
        for check in checks.iter().chain([&Check { name: "serving", problem: stopping }]) {
            match check.problem {
                None => writeln!(f, "{}: ok", check.name)?,
                Some(problem) => writeln!(f, "{}: failed: {problem}", check.name)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_is_ready_if_every_check_succeeds() {
        let readiness = Readiness::starting();
        let (good, bad) =
            (Check { name: "a", problem: None }, Check { name: "b", problem: Some("broken; see the log") });

        assert!(!readiness.is_ready(), "no check has run");
        readiness.set(vec![good]);
        assert!(readiness.is_ready());
        readiness.set(vec![good, bad]);
        assert!(!readiness.is_ready());
        assert_eq!(readiness.to_string(), "a: ok\nb: failed: broken; see the log\nserving: ok\n");
    }

    #[test]
    fn stopping_server_is_never_ready_again() {
        let readiness = Readiness::starting();

        readiness.stop();
        readiness.set(vec![]);

        assert!(!readiness.is_ready());
        assert_eq!(readiness.to_string(), "serving: failed: the server shuts down\n");
    }
}
