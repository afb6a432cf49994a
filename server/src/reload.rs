//! Replaces the security of a running server by that of its files, whenever their contents change.

use std::{sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

use crate::{
    auth::{Access, token::Tokens},
    config::{Config, Invalid, Security},
    listen::{Listen, Tls, tls},
    telemetry,
};

/// The interval between two comparisons of the files with those in force.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// The files that a server reads again, and everything made of them.
#[derive(Debug)]
pub(crate) struct Reload {
    pub(crate) config: Config,
    pub(crate) listen: Listen,
    /// The security in force.
    pub(crate) security: Security,
    pub(crate) access: Arc<Access>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) tls: Option<Arc<Tls>>,
    /// SIGHUP, caught from the start on: it would end the server. `None` if it cannot be caught; the interval remains.
    pub(crate) hangup: Option<Signal>,
}

/// Catches SIGHUP from now on.
pub(crate) fn catch_hangup() -> Option<Signal> {
    signal(SignalKind::hangup()).ok()
}

impl Reload {
    /// Reads the files every ten seconds and at each SIGHUP, for ever.
    pub(crate) async fn run(mut self) {
        let (mut failure, mut tls_failure) = (None, None);
        loop {
            let is_signalled = wait(self.hangup.as_mut()).await;
            self.reload_tls(&mut tls_failure).await;
            let error = self.reload_security().await.err();
            if let Some(error) = &error
                && failure != Some(error.clone())
            {
                tracing::error!(%error, "configuration file not applied: the earlier grants and issuers stay in force");
                telemetry::audit("reload", "configuration file", "InvalidArgument");
            }
            failure = error;
            if is_signalled {
                // Files of keys are read at intervals of their own; a signal also fetches keys from the network.
                self.tokens.reload().await;
            }
        }
    }

    /// Reads the TLS files again. A failure is logged there; the earlier files stay in force.
    async fn reload_tls(&self, failure: &mut Option<String>) {
        let Some(tls) = &self.tls else { return };
        let outcome = tls.reload().await;
        let error = outcome.as_ref().err().map(ToString::to_string);
        match outcome {
            Ok(tls::Reload::Replaced) => telemetry::audit("reload", "TLS files", "Ok"),
            Err(_) if *failure != error => telemetry::audit("reload", "TLS files", "InvalidArgument"),
            Ok(tls::Reload::Unchanged) | Err(_) => {}
        }
        *failure = error;
    }

    async fn reload_security(&mut self) -> Result<(), Invalid> {
        let (security, config, listen) = (self.security.clone(), self.config.clone(), self.listen.clone());
        let read = tokio::task::spawn_blocking(move || security.reload(&config, &listen)).await;
        // A panic in the reader would be a defect; the next round tries again.
        if let Some(security) = read.unwrap_or(Ok(None))? {
            self.tokens.replace(security.issuers.clone());
            self.access.replace(security.grants.clone());
            let grants = security.grants.len();
            tracing::info!(grants, "configuration file applied: its grants and issuers are in force");
            telemetry::audit("reload", "configuration file", "Ok");
            self.security = security;
        }
        Ok(())
    }
}

/// Waits for the interval or a signal, and returns true for a signal.
async fn wait(hangup: Option<&mut Signal>) -> bool {
    let signalled = async {
        let is_received = match hangup {
            Some(hangup) => hangup.recv().await.is_some(),
            None => false,
        };
        // Without the signal, the interval remains.
        if !is_received {
            std::future::pending::<()>().await;
        }
    };
    timeout(RELOAD_INTERVAL, signalled).await.is_ok()
}
