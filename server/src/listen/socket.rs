//! The socket of a connection, over any transport, with its peer.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::{peer::Peer, write_coalescing::CoalescingStream};

/// A socket and its peer.
#[derive(Debug)]
pub struct Socket {
    pub(super) transport: Transport,
    pub(super) peer: Peer,
}

/// The transport of a connection.
#[derive(Debug)]
pub(super) enum Transport {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Connected for CoalescingStream<Socket> {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.socket.peer.clone()
    }
}

/// Calls a poll function of whichever transport the socket has.
macro_rules! delegate {
    ($socket:ident.$poll:ident($($argument:expr),*)) => {
        match &mut $socket.get_mut().transport {
            Transport::Tcp(stream) => Pin::new(stream).$poll($($argument),*),
            Transport::Tls(stream) => Pin::new(&mut **stream).$poll($($argument),*),
            Transport::Unix(stream) => Pin::new(stream).$poll($($argument),*),
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.poll_shutdown(cx))
    }
}
