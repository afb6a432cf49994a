//! A wrapper of a connection that coalesces responses into fewer writes.
//!
//! The HTTP/2 layer flushes after each response, and that system call costs more than the response itself. This wrapper delays a
//! flush until the connection's task is polled again, behind all tasks that are ready to run. Responses that those produce leave in
//! the same write. No timer is involved: an idle server sends at once.
//!
//! This relies on the poll order of h2 0.4, which no API guarantees: a connection's task reads from the socket before it writes.
//! If a new version of h2 or hyper changes that, responses leave late or one by one. The tests below cover the wrapper's half of
//! the contract, and the end-to-end tests every response over a real h2 connection: run both after an update of either crate.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The largest buffered amount, in bytes; a full buffer is written at once.
const MAX_BUFFERED: usize = 64 * 1024;
/// The capacity that an empty buffer keeps, in bytes.
const IDLE_CAPACITY: usize = 16 * 1024;

/// A connection that buffers writes until its task is polled again.
#[derive(Debug)]
pub struct CoalescingStream<T> {
    pub(super) socket: T,
    buffer: Vec<u8>,
    /// The bytes at the buffer's beginning that are already sent.
    sent: usize,
    state: State,
}

/// The event that sends the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The next flush, which schedules the send.
    Buffering,
    /// The next poll of the connection's task, which was woken for it.
    FlushScheduled,
    /// The socket becoming writable again. A TLS session also holds encrypted bytes that the socket did not take.
    Blocked,
}

impl<T: AsyncWrite + Unpin> CoalescingStream<T> {
    /// Wraps a socket.
    pub(super) fn new(socket: T) -> Self {
        Self { socket, buffer: Vec::new(), sent: 0, state: State::Buffering }
    }

    /// Writes the buffer to the socket, through the buffers of a TLS session.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state = State::Blocked;
        while let Some(unsent) = self.buffer.get(self.sent..).filter(|unsent| !unsent.is_empty()) {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent = self.sent.saturating_add(sent);
        }
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.buffer.clear();
        self.buffer.shrink_to(IDLE_CAPACITY);
        self.sent = 0;
        self.state = State::Buffering;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for CoalescingStream<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Each poll of a connection's task begins with a read.
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for CoalescingStream<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.buffer.len() >= MAX_BUFFERED {
            ready!(self.poll_send(cx))?;
        }
        let before = self.buffer.len();
        for slice in slices {
            self.buffer.extend_from_slice(slice);
        }
        Poll::Ready(Ok(self.buffer.len().saturating_sub(before)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Schedules a send at the task's next poll, and reports success at once.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            State::Buffering if self.buffer.is_empty() => {}
            State::Buffering => {
                self.state = State::FlushScheduled;
                cx.waker().wake_by_ref();
            }
            State::FlushScheduled => {}
            State::Blocked => return self.poll_send(cx),
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
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

    /// A waker that counts its calls.
    #[derive(Default)]
    struct CountingWaker(AtomicUsize);

    impl Wake for CountingWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection whose task is polled by hand, and its peer.
    struct Task {
        connection: CoalescingStream<Counting>,
        waker: Arc<CountingWaker>,
    }

    impl Task {
        fn with_capacity(capacity: usize) -> (Self, DuplexStream) {
            let (socket, peer) = duplex(capacity);
            (Self { connection: CoalescingStream::new(Counting { socket, writes: 0 }), waker: Arc::default() }, peer)
        }

        fn wakes(&self) -> usize {
            self.waker.0.load(Ordering::Relaxed)
        }

        fn writes(&self) -> usize {
            self.connection.socket.writes
        }

        fn poll<T>(&mut self, poll: impl FnOnce(Pin<&mut CoalescingStream<Counting>>, &mut Context<'_>) -> T) -> T {
            let waker = Arc::clone(&self.waker).into();
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

        /// Polls the task once; there is nothing to read.
        fn poll_task(&mut self) {
            let read = self.poll(|connection, cx| connection.poll_read(cx, &mut ReadBuf::new(&mut [0; 8])));
            assert!(read.is_pending());
        }
    }

    #[tokio::test]
    async fn separate_flushes_leave_in_one_write() {
        let (mut task, mut peer) = Task::with_capacity(MAX_BUFFERED);

        for response in ["one ", "two ", "three"] {
            assert!(task.write(response.as_bytes()) && task.flush());
        }
        let before = (task.writes(), task.wakes());
        task.poll_task();
        let after = (task.writes(), task.wakes());
        assert!(task.flush());

        let mut read = [0; 13];
        peer.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"one two three");
        assert_eq!((before, after), ((0, 1), (1, 1)));
        assert_eq!((task.writes(), task.wakes()), (1, 1), "nothing is left to send");
    }

    #[tokio::test]
    async fn blocked_peer_causes_no_wakes() {
        let (mut task, mut peer) = Task::with_capacity(8);
        assert!(task.write(b"0123456789abcdef") && task.flush());
        task.poll_task();

        let wakes = task.wakes();
        for _ in 0..10 {
            assert!(!task.flush());
            task.poll_task();
        }
        assert_eq!(task.wakes(), wakes, "the task would spin");
        let mut read = [0; 16];
        peer.read_exact(&mut read[..8]).await.unwrap();
        assert!(task.wakes() > wakes && task.flush());
        peer.read_exact(&mut read[8..]).await.unwrap();

        assert_eq!(&read, b"0123456789abcdef");
    }

    #[test]
    fn buffer_is_bounded() {
        let (mut task, _peer) = Task::with_capacity(8);

        let accepted = (0..1_000).take_while(|_| task.write(&[0; 1024])).count();

        assert_eq!(accepted, MAX_BUFFERED / 1024);
    }

    #[tokio::test]
    async fn shutdown_sends_the_buffer() {
        let (mut task, mut peer) = Task::with_capacity(MAX_BUFFERED);
        assert!(task.write(b"goodbye") && task.flush());

        assert!(task.poll(|connection, cx| connection.poll_shutdown(cx).map(Result::unwrap)).is_ready());
        drop(task);

        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"goodbye");
    }
}
