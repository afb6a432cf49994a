//! The address of the listener, and the socket bound to it.

use std::{
    fmt,
    fs::{self, Permissions},
    io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use tokio::net::{TcpListener, UnixListener};

/// The permissions of a Unix socket's file: its owner and group may connect.
const UNIX_SOCKET_MODE: u32 = 0o660;

/// An address to listen on: `HOST:PORT` with a numeric host, or `unix:/PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP socket; port 0 stands for a free port.
    Tcp(SocketAddr),
    /// A Unix socket at an absolute path.
    Unix(PathBuf),
}

/// A text that is no address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be IP:PORT such as 127.0.0.1:50051 or [::]:50051, or unix:/PATH with an absolute path")]
pub struct InvalidListen;

/// A listener that cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another server listens on the Unix socket.
    #[error("{} is in use by another server; stop that server, or choose another --listen", .0.display())]
    InUse(PathBuf),
    /// The path of the Unix socket has a file of another kind.
    #[error("{} exists and is not a socket; choose another --listen, or remove the file", .0.display())]
    NotASocket(PathBuf),
    /// The socket cannot be used.
    #[error("cannot listen on {address}; choose another --listen, or free the address")]
    Io {
        /// The address.
        address: Listen,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl Listen {
    /// True if only this machine can connect: a loopback address or a Unix socket.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => is_loopback(address.ip()),
            Self::Unix(_) => true,
        }
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        match text.strip_prefix("unix:") {
            Some(path) if Path::new(path).is_absolute() => Ok(Self::Unix(path.into())),
            Some(_) => Err(InvalidListen),
            None => text.parse().map(Self::Tcp).map_err(|_| InvalidListen),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A bound socket that accepts connections.
#[derive(Debug)]
pub enum Listener {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Binds a socket. The file of a Unix socket gets the mode 0660. A file that an ended server left is replaced; one on which
    /// a server listens is an error.
    pub async fn bind(listen: &Listen) -> Result<Self, BindError> {
        let failed = |source| BindError::Io { address: listen.clone(), source };
        match listen {
            Listen::Tcp(address) => Ok(Self::Tcp(TcpListener::bind(address).await.map_err(failed)?)),
            Listen::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                fs::set_permissions(path, Permissions::from_mode(UNIX_SOCKET_MODE)).map_err(failed)?;
                Ok(Self::Unix(listener))
            }
        }
    }

    /// Returns the address on which it listens, with the port that the system chose.
    pub fn address(&self) -> io::Result<Listen> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Self::Unix(listener) => {
                let path = listener.local_addr()?.as_pathname().map(Path::to_owned).unwrap_or_default();
                Ok(Listen::Unix(path))
            }
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

/// Removes the file of a Unix socket on which no process listens.
async fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Io { address: Listen::Unix(path.to_owned()), source };
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    match tokio::net::UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A listener whose queue is full lets connections fail, and one of another user refuses access: both are in use.
        Ok(_) | Err(_) => Err(BindError::InUse(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_is_an_address_or_an_absolute_path() {
        for text in ["127.0.0.1:50051", "[::1]:0", "0.0.0.0:443", "unix:/run/scangate.sock"] {
            assert_eq!(text.parse::<Listen>().map(|listen| listen.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "50051", "localhost:50051", "unix:", "unix:scangate.sock", "/run/scangate.sock"] {
            let parsed = text.parse::<Listen>();
            assert!(parsed.is_err(), "{text}: {parsed:?}");
        }
    }

    #[test]
    fn loopback_and_unix_sockets_are_local() {
        let is_local = |text: &str| text.parse::<Listen>().unwrap().is_local();

        assert!(is_local("127.0.0.1:1") && is_local("[::1]:1") && is_local("[::ffff:127.0.0.1]:1"));
        assert!(is_local("unix:/run/scangate.sock"));
        assert!(!is_local("0.0.0.0:1") && !is_local("[::]:1") && !is_local("10.0.0.1:1"));
    }
}
