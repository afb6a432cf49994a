//! Unix sockets: the identity of the peer, and the file of the socket.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use scangate_server::listen::{BindError, Listen, Listener};
use tokio::net::UnixStream;

use crate::fixtures::{Client, greet};

async fn bind(path: &Path) -> Result<Listener, BindError> {
    Listener::bind(&Listen::Unix(path.to_owned())).await
}

#[tokio::test]
async fn peer_has_the_identity_of_its_user() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.sock");
    let listener = bind(&path).await.unwrap();
    assert_eq!(listener.address().unwrap(), Listen::Unix(path.clone()));
    greet(listener, None);

    let mut client = Client::over(UnixStream::connect(&path).await.unwrap()).await.unwrap();

    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder.path()).unwrap());
    assert_eq!(client.greeting, format!("uid:{uid}"));
    assert_eq!(client.echo("more").await.unwrap(), "more");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
}

#[tokio::test]
async fn stale_socket_is_replaced_and_used_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.sock");

    drop(bind(&path).await.unwrap());
    assert!(path.exists(), "there is nothing to replace");
    let listener = bind(&path).await.unwrap();
    let second = bind(&path).await;

    assert!(matches!(&second, Err(BindError::InUse(used)) if *used == path), "{second:?}");
    greet(listener, None);
    assert!(Client::over(UnixStream::connect(&path).await.unwrap()).await.is_ok());
}

#[tokio::test]
async fn file_of_another_kind_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    std::fs::write(&path, "data").unwrap();

    let bound = bind(&path).await;

    assert!(matches!(bound, Err(BindError::NotASocket(_))), "{bound:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
}
