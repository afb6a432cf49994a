//! Peers that are silent, slow or speak another protocol.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::fixtures::{Client, Setup, greeting, handshake, serve};

/// More connections than there are places for handshakes.
const SILENT: usize = 600;

/// Connects from another loopback address.
async fn connect_from(local: &str, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{local}:0").parse().unwrap()).unwrap();
    socket.connect(address).await.unwrap()
}

#[tokio::test]
async fn silent_peer_does_not_delay_another() {
    let setup = Setup::new();
    let (address, _) = serve(setup.files()).await;
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(connect_from("127.0.0.2", address).await);
    }

    let socket = connect_from("127.0.0.3", address).await;
    let good = Client::over(handshake(socket, setup.client(None)).await.unwrap()).await.unwrap();

    assert_eq!(good.greeting, "none");
    // The last one was beyond the share of its address.
    assert_eq!(silent.pop().unwrap().read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn silent_connection_is_closed() {
    let setup = Setup::new();
    let (address, _) = serve(setup.files()).await;
    let mut silent = TcpStream::connect(address).await.unwrap();

    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn other_protocols_do_not_end_the_listener() {
    let setup = Setup::new();
    let (address, _) = serve(setup.files()).await;

    for opening in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}\u{7f}\u{7f}\u{1}"] {
        let mut other = TcpStream::connect(address).await.unwrap();
        other.write_all(opening.as_bytes()).await.unwrap();
        other.shutdown().await.unwrap();
        other.read_to_end(&mut Vec::new()).await.ok();
        assert_eq!(greeting(address, setup.client(None)).await.unwrap(), "none");
    }
}

#[tokio::test]
async fn slow_reader_receives_every_byte() {
    let setup = Setup::new();
    let (address, _) = serve(setup.files()).await;
    let mut client = Client::connect(address, setup.client(None)).await.unwrap();
    // More than the buffers of both sockets have room for, so that TLS keeps encrypted bytes back.
    let line = "x".repeat(16 * 1024 * 1024);

    client.send(&line).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let received = client.receive(line.len() + 1).await.unwrap();

    assert!(received.ends_with(b"x\n") && received.starts_with(b"x"));
}
