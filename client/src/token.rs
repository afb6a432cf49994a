//! Sources of bearer tokens: a fixed one, a file, or a command.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
};

/// The most bytes of a file or of a command's output. A server accepts tokens of 8 KiB.
const MAX_BYTES: u64 = 64 * 1024;
/// A token is replaced so long before its expiry, so that it does not expire on its way.
pub(crate) const EXPIRY_MARGIN: Duration = Duration::from_secs(10);

/// A source of bearer tokens. `Debug` shows no token, and no arguments of a command.
///
/// ```
/// use scangate_client::{ConnectOptions, TokenSource};
///
/// // A token that Kubernetes renews in place.
/// let options = ConnectOptions::new("https://gate.example")
///     .bearer_token(TokenSource::file("/var/run/secrets/tokens/scangate"));
/// ```
#[derive(Clone)]
pub struct TokenSource(pub(crate) Source);

#[derive(Clone)]
pub(crate) enum Source {
    Fixed(String),
    File(PathBuf),
    Command { program: OsString, arguments: Vec<OsString> },
}

/// No token could be got from its source, so the call was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no token for the call: {0}")]
pub struct TokenFailure(String);

impl TokenSource {
    /// The same token for every call, without the prefix `Bearer`.
    pub fn fixed(token: impl Into<String>) -> Self {
        Self(Source::Fixed(token.into()))
    }

    /// A file with the token, read again for each call. White space around the token is ignored.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// A program that prints the token on its standard output. White space around the token is ignored.
    ///
    /// It runs for the first call, again shortly before the token expires (the claim `exp` of a JWT), and once after the server
    /// refused the token. A call waits for it until its deadline.
    pub fn command(program: impl Into<OsString>, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self(Source::Command { program: program.into(), arguments: arguments.into_iter().map(Into::into).collect() })
    }
}

impl<T: Into<String>> From<T> for TokenSource {
    fn from(token: T) -> Self {
        Self::fixed(token)
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Fixed(_) => f.write_str("TokenSource(fixed)"),
            Source::File(path) => write!(f, "TokenSource(file {})", path.display()),
            Source::Command { program, .. } => write!(f, "TokenSource(command {})", program.display()),
        }
    }
}

impl TokenFailure {
    pub(crate) fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

/// Reads the token in a file.
pub(crate) async fn read(path: &Path) -> Result<String, TokenFailure> {
    let failed = |reason: &dyn fmt::Display| TokenFailure(format!("{}: {reason}", path.display()));
    let file = File::open(path).await.map_err(|error| failed(&error))?;
    read_token(file).await.map_err(|reason| failed(&reason))
}

/// Runs a program for a token. What it prints on standard error is for the user.
pub(crate) async fn run(program: &OsString, arguments: &[OsString]) -> Result<String, TokenFailure> {
    let failed = |reason: &dyn fmt::Display| TokenFailure(format!("the command {}: {reason}", program.display()));
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    let Some(output) = child.stdout.take() else {
        return Err(failed(&"it has no output"));
    };
    let token = read_token(output).await;
    let status = child.wait().await.map_err(|error| failed(&error))?;
    if !status.success() {
        return Err(failed(&status));
    }
    token.map_err(|reason| failed(&reason))
}

async fn read_token(from: impl AsyncRead + Unpin) -> Result<String, String> {
    let mut text = String::new();
    let read = from.take(MAX_BYTES).read_to_string(&mut text).await.map_err(|error| error.to_string())?;
    let token = text.trim();
    if token.is_empty() {
        return Err("it is empty".to_owned());
    }
    if read as u64 == MAX_BYTES {
        return Err(format!("it has {MAX_BYTES} bytes or more, which is no token"));
    }
    Ok(token.to_owned())
}

/// True if the token is a JWT that is expired, or nearly. Whether it is genuine is for the server to decide.
pub(crate) fn is_expired(token: &str, now: SystemTime) -> bool {
    let claims = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
    let claims = claims.and_then(|claims| serde_json::from_slice::<serde_json::Value>(&claims).ok());
    let expiry = claims.and_then(|claims| claims.get("exp")?.as_f64());
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default() + EXPIRY_MARGIN;
    expiry.is_some_and(|expiry| expiry <= now.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_renewed_shortly_before_its_expiry() {
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"exp": 1000}"#));
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);

        assert!(!is_expired(&token, at(989)));
        assert!(is_expired(&token, at(990)));
    }

    #[test]
    fn token_without_expiry_is_kept() {
        let now = UNIX_EPOCH + Duration::from_secs(10_000);

        for claims in ["{}", "[]", "{", r#"{"exp": "1000"}"#] {
            assert!(!is_expired(&format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)), now), "{claims}");
        }
        assert!(!is_expired("opaque", now));
    }

    #[test]
    fn debug_output_hides_tokens_and_arguments() {
        let sources = [TokenSource::fixed("tok-123"), TokenSource::command("sh", ["-c", "echo tok-123"])];

        assert_eq!(format!("{sources:?}"), "[TokenSource(fixed), TokenSource(command sh)]");
    }
}
