//! Real gRPC: a Python server and a Python client, from `tests/apps/grpc`.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{SOON, ended, root, signal};

/// A running server, killed when dropped.
pub(crate) struct GrpcServer {
    child: Child,
    address: SocketAddr,
}

impl GrpcServer {
    pub(crate) fn start(name: &str) -> GrpcServer {
        GrpcServer::with(name, None)
    }

    /// One in TLS, with a certificate and a key of these files.
    pub(crate) fn tls(name: &str, certificate: &Path, key: &Path) -> GrpcServer {
        GrpcServer::with(name, Some([certificate, key]))
    }

    fn with(name: &str, tls: Option<[&Path; 2]>) -> GrpcServer {
        let mut command = python("server.py");
        command.arg(name).args(tls.iter().flatten()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port: u16 = port.trim().parse().expect("the server says its port");
        GrpcServer { child, address: ([127, 0, 0, 1], port).into() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn kill(&mut self) {
        signal(self.child.id(), "KILL");
        ended(&mut self.child, SOON).unwrap();
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Plays a scene of `client.py` against this address, in TLS where there is somebody to trust.
#[track_caller]
pub(crate) fn grpc_scene(scene: &str, address: SocketAddr, ca: Option<&Path>) {
    let output = python("client.py").arg(scene).arg(address.to_string()).args(ca).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the scene {scene:?} went otherwise:\n{said}");
}

/// Calls the unary method of a server itself, past every gateway.
#[track_caller]
pub(crate) fn grpc_tell(server: &GrpcServer, word: &str) {
    let call = "import grpc, sys; grpc.insecure_channel(sys.argv[1]).unary_unary('/headgate.test.Echo/Unary')(sys.argv[2].encode(), timeout=20)";
    let status = Command::new(interpreter()).args(["-c", call, &server.address.to_string(), word]).status().unwrap();
    assert!(status.success());
}

fn python(script: &str) -> Command {
    let mut command = Command::new(interpreter());
    // What a tester's shell says of proxies and trust is not for these.
    command.arg(root().join("tests/apps/grpc").join(script)).env("GRPC_VERBOSITY", "NONE").env_remove("http_proxy");
    command.env_remove("https_proxy").env_remove("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH");
    command
}

/// The one with the packages of `requirements.txt`; `script/setup test` makes it.
fn interpreter() -> PathBuf {
    let python = root().join("target/grpc-venv/bin/python3");
    assert!(python.exists(), "script/setup test installs what the tests of gRPC need");
    python
}
