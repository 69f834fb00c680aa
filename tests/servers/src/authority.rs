//! A certificate authority for one test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

/// For a certificate of `127.0.0.1` and `localhost`, and for one that signs others.
const SETTINGS: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = payhook tests
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1, DNS:localhost
extendedKeyUsage = serverAuth
";

/// A certificate authority of our own, for servers on this machine. Debian's PostgreSQL brings the program it is made
/// with, `openssl`.
#[derive(Clone)]
pub struct Authority {
    dir: PathBuf,
}

impl Authority {
    /// Makes one in `dir`, which is made if need be.
    pub fn make(dir: impl AsRef<Path>) -> Result<Self> {
        let authority = Self { dir: dir.as_ref().to_owned() };
        fs::create_dir_all(&authority.dir)?;
        fs::write(authority.settings(), SETTINGS)?;
        authority.request("authority", &authority.dir.join("ca.key"), &authority.certificate(), &[])?;
        Ok(authority)
    }

    /// The file with its own certificate, in PEM.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    fn settings(&self) -> PathBuf {
        self.dir.join("openssl.cnf")
    }

    /// Makes a server's key and certificate in `dir`: `server.key` and `server.pem`.
    pub fn issue(&self, dir: &Path) -> Result<[PathBuf; 2]> {
        let (key, certificate) = (dir.join("server.key"), dir.join("server.pem"));
        let signed = ["-CA".into(), self.certificate(), "-CAkey".into(), self.dir.join("ca.key")];
        self.request("server", &key, &certificate, &signed)?;
        Ok([key, certificate])
    }

    fn request(&self, kind: &str, key: &Path, certificate: &Path, signed: &[PathBuf]) -> Result<()> {
        let mut openssl = Command::new("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "30",
        ]);
        openssl.args(["-extensions", kind, "-config"]).arg(self.settings());
        openssl.arg("-keyout").arg(key).arg("-out").arg(certificate).args(signed).stdin(Stdio::null());
        let Output { status, stderr, .. } = openssl.output().context("cannot run openssl: apt-get install openssl")?;
        ensure!(status.success(), "openssl: {}", String::from_utf8_lossy(&stderr).trim());
        Ok(())
    }
}
