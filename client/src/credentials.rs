//! Adds the caller's bearer token to every call, and hides it from debug output.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use tokio::{sync::Mutex, time::Instant};
use tonic::{
    body::Body,
    codegen::{
        BoxFuture, Service, StdError,
        http::{HeaderValue, Request, Response, header::AUTHORIZATION},
    },
    transport::Channel,
};

use crate::{
    error::Error,
    token::{self, EXPIRY_MARGIN, Source, TokenFailure, TokenSource},
};

/// The caller's tokens. `Debug` shows only their source.
pub(crate) struct Credentials {
    source: Option<TokenSource>,
    /// The latest token of a command. Its lock makes the runs for concurrent calls one.
    latest: Mutex<Option<Latest>>,
}

struct Latest {
    token: String,
    at: Instant,
}

impl Credentials {
    pub(crate) fn new(source: Option<TokenSource>) -> Result<Self, Error> {
        if let Some(TokenSource(Source::Fixed(token))) = &source {
            header(token).map_err(|failure| Error::Options { option: "bearer token", source: Box::new(failure) })?;
        }
        Ok(Self { source, latest: Mutex::default() })
    }

    /// True if a later call may have another token.
    pub(crate) fn can_change(&self) -> bool {
        self.source.as_ref().is_some_and(|source| !matches!(source.0, Source::Fixed(_)))
    }

    /// Runs a command if there is no token of it yet.
    pub(crate) async fn prepare(&self) -> Result<(), TokenFailure> {
        if self.is_command() {
            self.header().await?;
        }
        Ok(())
    }

    fn is_command(&self) -> bool {
        self.source.as_ref().is_some_and(|source| matches!(source.0, Source::Command { .. }))
    }

    /// Discards the token of a call that began at an instant, since the server refused it. Returns true if the next call has
    /// another one.
    pub(crate) async fn renew(&self, began: Instant) -> bool {
        if !self.is_command() {
            return false;
        }
        // A token that came after the call began is not the refused one.
        self.latest.lock().await.take_if(|latest| latest.at <= began);
        true
    }

    async fn header(&self) -> Result<Option<HeaderValue>, TokenFailure> {
        let Some(source) = &self.source else { return Ok(None) };
        let value = match &source.0 {
            Source::Fixed(token) => header(token),
            Source::File(path) => header(&token::read(path).await?),
            Source::Command { program, arguments } => {
                let mut latest = self.latest.lock().await;
                // A token that was just printed counts, so that one of the past does not make the command run without end.
                latest.take_if(|latest| {
                    latest.at.elapsed() >= EXPIRY_MARGIN && token::is_expired(&latest.token, SystemTime::now())
                });
                let token = match latest.take() {
                    Some(latest) => latest,
                    None => Latest { token: token::run(program, arguments).await?, at: Instant::now() },
                };
                header(&latest.insert(token).token)
            }
        };
        value.map(Some)
    }
}

fn header(token: &str) -> Result<HeaderValue, TokenFailure> {
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    let mut value = value.map_err(|_| TokenFailure::new("the token has characters that no header may have"))?;
    // Excludes the token from HPACK's table and from debug output.
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Credentials").field(&self.source).finish()
    }
}

/// The connection of a client, which adds the token to every call.
#[derive(Debug, Clone)]
pub struct Transport {
    channel: Channel,
    pub(crate) credentials: Arc<Credentials>,
}

impl Transport {
    pub(crate) fn new(channel: Channel, credentials: Credentials) -> Self {
        Self { channel, credentials: Arc::new(credentials) }
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = StdError;
    type Future = BoxFuture<Response<Body>, StdError>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.channel.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The channel that is ready makes the call; its clone is not ready yet.
        let clone = self.channel.clone();
        let mut channel = mem::replace(&mut self.channel, clone);
        let credentials = Arc::clone(&self.credentials);
        Box::pin(async move {
            if let Some(value) = credentials.header().await? {
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            Ok(channel.call(request).await?)
        })
    }
}
