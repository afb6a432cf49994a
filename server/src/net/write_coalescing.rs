//! Connections whose answers leave together.
//!
//! HTTP/2 flushes after every data frame of some size: a system call for each answer, which costs more than making it. Here a
//! flush is put off until the connection's task comes by again, behind all others that are ready to run: what they answer meanwhile
//! leaves with it, in one write. Nothing waits for more to come.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// The most bytes that are held back.
const LIMIT: usize = 64 * 1024;
/// What a buffer keeps allocated while nothing is in it.
const KEPT: usize = 16 * 1024;

/// A connection that gathers what is written to it.
#[derive(Debug)]
pub(crate) struct Gathering<T = TcpStream> {
    socket: T,
    held: Vec<u8>,
    /// How many of the held bytes have left.
    sent: usize,
    state: State,
}

/// How what is held will leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// By the next flush.
    Gathering,
    /// At the next turn of its task, which was told to come by.
    PutOff,
    /// When the peer has taken some of what was sent.
    Blocked,
}

impl<T: AsyncWrite + Unpin> Gathering<T> {
    /// Gathers what is written to this socket.
    pub(crate) fn new(socket: T) -> Self {
        Self { socket, held: Vec::new(), sent: 0, state: State::Gathering }
    }

    /// Writes what is held.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state = State::Blocked;
        while let Some(rest) = self.held.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent = self.sent.saturating_add(sent);
        }
        self.held.clear();
        self.held.shrink_to(KEPT);
        self.sent = 0;
        self.state = State::Gathering;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathering<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Every turn of a connection's task begins with reading.
        if let Poll::Ready(Err(failed)) = self.poll_send(cx) {
            return Poll::Ready(Err(failed));
        }
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gathering<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.held.len() >= LIMIT {
            ready!(self.poll_send(cx))?;
        }
        let before = self.held.len();
        for slice in slices {
            self.held.extend_from_slice(slice);
        }
        Poll::Ready(Ok(self.held.len().saturating_sub(before)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Sees to it that what is held leaves at the task's next turn, and says that it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            State::Gathering if self.held.is_empty() => {}
            State::Gathering => {
                self.state = State::PutOff;
                cx.waker().wake_by_ref();
            }
            State::PutOff => {}
            State::Blocked => return self.poll_send(cx),
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Connected for Gathering {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.socket.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    use super::*;

    /// A socket that counts what is written to it.
    struct Counting {
        socket: DuplexStream,
        writes: usize,
    }

    impl AsyncRead for Counting {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.socket).poll_read(cx, to)
        }
    }

    impl AsyncWrite for Counting {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.writes += 1;
            Pin::new(&mut self.socket).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.socket).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.socket).poll_shutdown(cx)
        }
    }

    /// How often a task was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection whose task is polled by hand, and its peer.
    struct Task {
        connection: Gathering<Counting>,
        woken: Arc<Woken>,
    }

    impl Task {
        fn with_room(room: usize) -> (Self, DuplexStream) {
            let (socket, peer) = duplex(room);
            (Self { connection: Gathering::new(Counting { socket, writes: 0 }), woken: Arc::default() }, peer)
        }

        fn woken(&self) -> usize {
            self.woken.0.load(Ordering::Relaxed)
        }

        fn writes(&self) -> usize {
            self.connection.socket.writes
        }

        fn poll<T>(&mut self, poll: impl FnOnce(Pin<&mut Gathering<Counting>>, &mut Context<'_>) -> T) -> T {
            let waker = Arc::clone(&self.woken).into();
            poll(Pin::new(&mut self.connection), &mut Context::from_waker(&waker))
        }

        fn write(&mut self, bytes: &[u8]) -> bool {
            match self.poll(|connection, cx| connection.poll_write(cx, bytes)) {
                Poll::Ready(written) => written.unwrap() == bytes.len(),
                Poll::Pending => false,
            }
        }

        fn flush(&mut self) -> bool {
            self.poll(|connection, cx| connection.poll_flush(cx).map(Result::unwrap)).is_ready()
        }

        /// The next turn of the task, which finds nothing to read.
        fn turn(&mut self) {
            let read = self.poll(|connection, cx| connection.poll_read(cx, &mut ReadBuf::new(&mut [0; 8])));
            assert!(read.is_pending());
        }
    }

    #[tokio::test]
    async fn answers_that_are_flushed_one_by_one_leave_in_one_write_at_the_next_turn() {
        let (mut task, mut peer) = Task::with_room(LIMIT);

        for answer in ["one ", "two ", "three"] {
            assert!(task.write(answer.as_bytes()) && task.flush());
        }
        let before = (task.writes(), task.woken());
        task.turn();
        let after = (task.writes(), task.woken());
        assert!(task.flush());

        let mut read = [0; 13];
        peer.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"one two three");
        assert_eq!((before, after), ((0, 1), (1, 1)));
        assert_eq!((task.writes(), task.woken()), (1, 1), "nothing is left to see to");
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_waited_for_and_wakes_nobody() {
        let (mut task, mut peer) = Task::with_room(8);
        assert!(task.write(b"0123456789abcdef") && task.flush());
        task.turn();

        let woken = task.woken();
        for _ in 0..10 {
            assert!(!task.flush());
            task.turn();
        }
        assert_eq!(task.woken(), woken, "it would go round and round");
        let mut read = [0; 16];
        peer.read_exact(&mut read[..8]).await.unwrap();
        assert!(task.woken() > woken && task.flush());
        peer.read_exact(&mut read[8..]).await.unwrap();

        assert_eq!(&read, b"0123456789abcdef");
    }

    #[test]
    fn no_more_is_held_back_than_a_bound() {
        let (mut task, _peer) = Task::with_room(8);

        let taken = (0..1_000).take_while(|_| task.write(&[0; 1024])).count();

        assert_eq!(taken, LIMIT / 1024);
    }

    #[tokio::test]
    async fn what_is_held_leaves_before_the_connection_closes() {
        let (mut task, mut peer) = Task::with_room(LIMIT);
        assert!(task.write(b"goodbye") && task.flush());

        assert!(task.poll(|connection, cx| connection.poll_shutdown(cx).map(Result::unwrap)).is_ready());
        drop(task);

        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"goodbye");
    }
}
