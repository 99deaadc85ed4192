//! The agreement at start: who started us, which protocol, which certificate.

use std::fmt;
use std::path::{Path, PathBuf};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// Terraform proves with this pair that it, and not a person, started the program. No secret.
const COOKIE: (&str, &str) =
    ("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2");

/// The version of the process protocol (not of the provider protocol).
const CORE_VERSION: u32 = 1;

/// The provider protocol that we speak.
const PROTOCOL_VERSION: u32 = 6;

/// What Terraform told us in environment variables.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Environment {
    /// The only client that may connect; none if the user turned TLS off.
    pub(crate) client_certificate: Option<CertificateDer<'static>>,
    /// Where sockets go, if not to the directory for temporary files.
    pub(crate) socket_dir: Option<PathBuf>,
}

/// Why we do not start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    StartedByHand,
    Protocol { offered: String },
    Certificate { problem: String },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartedByHand => f.write_str(
                "This program is a Terraform provider. Terraform starts it; it is not meant to be run by hand.\n\
                 Name it in required_providers, run `terraform init`, then `terraform plan`.",
            ),
            Self::Protocol { offered } => write!(
                f,
                "Terraform offers provider protocol {offered}, this provider speaks {PROTOCOL_VERSION}. \
                 Use Terraform 1.1 or newer, or OpenTofu."
            ),
            Self::Certificate { problem } => {
                write!(f, "The client certificate in PLUGIN_CLIENT_CERT cannot be used: {problem}.")
            }
        }
    }
}

impl Environment {
    /// Reads and checks the variables.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Refusal> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        if set(COOKIE.0).as_deref() != Some(COOKIE.1) {
            return Err(Refusal::StartedByHand);
        }
        if let Some(offered) = set("PLUGIN_PROTOCOL_VERSIONS") {
            let ours = PROTOCOL_VERSION.to_string();
            if !offered.split(',').any(|version| version.trim() == ours) {
                return Err(Refusal::Protocol { offered });
            }
        }
        let certificate = set("PLUGIN_CLIENT_CERT").map(|pem| {
            CertificateDer::from_pem_slice(pem.as_bytes())
                .map_err(|e| Refusal::Certificate { problem: e.to_string() })
        });
        Ok(Self {
            client_certificate: certificate.transpose()?,
            socket_dir: set("PLUGIN_UNIX_SOCKET_DIR").map(PathBuf::from),
        })
    }
}

/// The handshake line, without its line end.
pub(crate) fn line(socket: &Path, certificate_base64: &str) -> String {
    format!("{CORE_VERSION}|{PROTOCOL_VERSION}|unix|{}|grpc|{certificate_base64}", socket.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, Refusal> {
        Environment::read(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    /// Goal: a person who runs the program learns what it is, and it does not hang.
    #[test]
    fn without_cookie_it_explains_itself() {
        let refusal = read(&[]).expect_err("there is no cookie");
        assert_eq!(refusal, Refusal::StartedByHand);
        assert!(refusal.to_string().contains("terraform init"));
        assert_eq!(read(&[(COOKIE.0, "x")]), Err(Refusal::StartedByHand));
    }

    /// Goal: protocol lists in any order are understood, and one without ours is refused with both versions.
    #[test]
    fn protocol_versions_are_matched() {
        assert!(read(&[COOKIE, ("PLUGIN_PROTOCOL_VERSIONS", "6,5")]).is_ok());
        assert!(read(&[COOKIE, ("PLUGIN_PROTOCOL_VERSIONS", "5, 6")]).is_ok());
        let refusal = read(&[COOKIE, ("PLUGIN_PROTOCOL_VERSIONS", "4,5,66")]).expect_err("no 6");
        assert!(refusal.to_string().contains("offers provider protocol 4,5,66"));
    }

    /// Goal: a broken client certificate is an error, never a reason to serve without one.
    #[test]
    fn broken_certificate_is_refused() {
        let refusal = read(&[COOKIE, ("PLUGIN_CLIENT_CERT", "not PEM")]);
        assert!(matches!(refusal, Err(Refusal::Certificate { .. })), "{refusal:?}");
    }
}
