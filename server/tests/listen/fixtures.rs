//! A server that greets each connection with the name of its peer, and clients.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use scangate_server::listen::{Connection, Listener, Tls, incoming, tls::Files};
use scangate_test_identities::{Authority, Pair, client_config};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, BufStream},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, ClientConnection, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        version::TLS12,
    },
};
use tokio_stream::StreamExt as _;
use tonic::transport::server::Connected as _;

/// The authority of the server and of its clients, and a folder with the server's files.
pub(crate) struct Setup {
    pub(crate) authority: Authority,
    folder: TempDir,
}

impl Setup {
    /// A setup with a certificate for the server.
    pub(crate) fn new() -> Self {
        let setup = Self { authority: Authority::new("test"), folder: tempfile::tempdir().unwrap() };
        setup.authority.server().write(setup.folder.path(), "server");
        setup.write("ca.pem", &setup.authority.certificate());
        setup
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path().join(name), content).unwrap();
    }

    /// The folder of the files.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The server's files; a client certificate is optional.
    pub(crate) fn files(&self) -> Files {
        Files {
            certificate: self.path().join("server.pem"),
            key: self.path().join("server.key"),
            client_ca: Some(self.path().join("ca.pem")),
            crl: None,
            is_client_certificate_required: false,
        }
    }

    /// The server's files, with a list that revokes these certificates.
    pub(crate) fn files_with_revoked(&self, revoked: &[&Pair]) -> Files {
        self.write("crl.pem", &self.authority.revoke(revoked));
        Files { crl: Some(self.path().join("crl.pem")), ..self.files() }
    }

    /// A client that trusts the authority and insists on sending this certificate.
    pub(crate) fn client(&self, own: Option<&Pair>) -> Arc<ClientConfig> {
        client_config(&self.authority, own)
    }

    /// The same, with TLS 1.2.
    pub(crate) fn tls12_client(&self, own: &Pair) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.certificate().as_bytes()).unwrap()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(&[&TLS12]).unwrap().with_root_certificates(roots);
        Arc::new(builder.with_client_auth_cert(chain, key).unwrap())
    }
}

/// Starts a server with these files.
pub(crate) async fn serve(files: Files) -> (SocketAddr, Arc<Tls>) {
    let tls = Tls::load(files).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    greet(listener.into(), Some(Arc::clone(&tls)));
    (address, tls)
}

/// Greets each connection with the name of its peer, and then sends back each line.
pub(crate) fn greet(listener: Listener, tls: Option<Arc<Tls>>) {
    let mut connections = Box::pin(incoming(listener, tls));
    tokio::spawn(async move {
        while let Some(Ok(connection)) = connections.next().await {
            tokio::spawn(talk(connection));
        }
    });
}

async fn talk(connection: Connection) -> io::Result<()> {
    let principal = connection.connect_info().principal;
    let name = principal.map_or_else(|| "none".to_owned(), |principal| principal.identity().name.clone());
    let mut connection = BufStream::new(connection);
    let mut line = name + "\n";
    loop {
        connection.write_all(line.as_bytes()).await?;
        connection.flush().await?;
        line.clear();
        if connection.read_line(&mut line).await? == 0 {
            return Ok(());
        }
    }
}

/// Makes a TLS handshake over a socket. With TLS 1.3 it succeeds before the server has looked at the client's certificate.
pub(crate) async fn handshake(socket: TcpStream, client: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(client).connect("localhost".try_into().unwrap(), socket).await
}

/// Connects, and returns the name with which the server greets.
pub(crate) async fn greeting(address: SocketAddr, client: Arc<ClientConfig>) -> io::Result<String> {
    Client::connect(address, client).await.map(|client| client.greeting)
}

/// A greeted client.
pub(crate) struct Client<S> {
    pub(crate) greeting: String,
    stream: BufReader<S>,
}

impl Client<TlsStream<TcpStream>> {
    /// Connects over TLS.
    pub(crate) async fn connect(address: SocketAddr, client: Arc<ClientConfig>) -> io::Result<Self> {
        Self::over(handshake(TcpStream::connect(address).await?, client).await?).await
    }

    /// The TLS session.
    pub(crate) fn session(&self) -> &ClientConnection {
        self.stream.get_ref().get_ref().1
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Reads the greeting.
    pub(crate) async fn over(stream: S) -> io::Result<Self> {
        let mut client = Self { greeting: String::new(), stream: BufReader::new(stream) };
        client.greeting = client.line().await?;
        Ok(client)
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// Sends a line and returns the one that comes back.
    pub(crate) async fn echo(&mut self, line: &str) -> io::Result<String> {
        self.send(line).await?;
        self.line().await
    }

    /// Sends a line.
    pub(crate) async fn send(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\n").as_bytes()).await?;
        self.stream.flush().await
    }

    /// Receives this many bytes.
    pub(crate) async fn receive(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await?;
        Ok(bytes)
    }
}
