//! Mutual TLS between Terraform and the provider: each side made a certificate for this one run.
//!
//! Terraform's certificate is self-signed, says that it is a CA, and has a P-521 key. The usual verifier refuses the
//! first two and `ring` cannot do the third. So the client is checked in our own way, which is also the strictest:
//! the certificate must equal, byte for byte, the one from our environment, and the handshake must be signed by its key.

use base64::Engine;
use p521::ecdsa::signature::Verifier;
use p521::ecdsa::{Signature, VerifyingKey};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, PrivateKeyDer, SignatureVerificationAlgorithm,
    UnixTime, alg_id,
};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme, version,
};

/// Our half: who we are, and whom we let in.
pub(crate) struct ServerIdentity {
    /// For the handshake line: standard alphabet, no padding.
    pub(crate) certificate_base64: String,
    pub(crate) acceptor: TlsAcceptor,
}

impl ServerIdentity {
    /// A fresh key and certificate for a run with this client.
    pub(crate) fn for_client(client: CertificateDer<'static>) -> Result<Self, String> {
        let failed = |e: &dyn std::fmt::Display| format!("The provider cannot prepare TLS: {e}");
        let key = rcgen::KeyPair::generate().map_err(|e| failed(&e))?;
        let mut parameters =
            rcgen::CertificateParams::new(vec!["localhost".to_owned()]).map_err(|e| failed(&e))?;
        // Terraform puts this certificate in its pool of roots; so it has to be one.
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).map_err(|e| failed(&e))?;
        let certificate_base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(certificate.der());

        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|e| failed(&e))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|e| failed(&e))?
            .with_client_cert_verifier(Arc::new(OnlyThisClient { certificate: client }))
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(|e| failed(&e))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { certificate_base64, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}

/// Lets in the one client whose certificate we were given.
#[derive(Debug)]
struct OnlyThisClient {
    certificate: CertificateDer<'static>,
}

/// What the client may sign with: the P-521 of Terraform, and the curve that other tools would choose.
static ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[&P521Sha512],
    mapping: &[(SignatureScheme::ECDSA_NISTP521_SHA512, &[&P521Sha512])],
};

impl ClientCertVerifier for OnlyThisClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // With a hint Terraform would compare issuers and send no certificate at all.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if *end_entity == self.certificate {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}

/// ECDSA on P-521 with SHA-512, which `ring` does not have.
#[derive(Debug)]
struct P521Sha512;

impl SignatureVerificationAlgorithm for P521Sha512 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_der(signature).map_err(|_| InvalidSignature)?;
        key.verify(message, &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P521
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA512
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::ClientConfig;
    use tokio_rustls::rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
    use tokio_rustls::rustls::pki_types::ServerName;

    fn certificate() -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).expect("a certificate");
        made.cert.der().clone()
    }

    #[derive(Debug)]
    struct TrustsAnyone;

    impl ServerCertVerifier for TrustsAnyone {
        fn verify_server_cert(
            &self,
            _end_entity: &CertificateDer<'_>,
            _intermediates: &[CertificateDer<'_>],
            _server_name: &ServerName<'_>,
            _ocsp_response: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }

    /// Goal: whoever shows no certificate does not get in. Method: a client that trusts anyone and has none.
    /// That the right client gets in is seen whenever Terraform runs the provider.
    #[test]
    fn client_without_certificate_is_refused() {
        let identity = ServerIdentity::for_client(certificate()).expect("an identity");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13])
            .expect("TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustsAnyone))
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (accepted, connected) = runtime.block_on(async {
            let name = ServerName::try_from("localhost").expect("a name");
            tokio::join!(identity.acceptor.accept(ours), connector.connect(name, theirs))
        });
        let refused = accepted.err().map(|e| e.to_string());
        assert_eq!(refused.as_deref(), Some("peer sent no certificates"));
        assert!(connected.is_ok(), "the client learns of the refusal with its first byte only");
    }

    /// Goal: of all certificates in the world one is accepted.
    #[test]
    fn other_certificate_is_refused() {
        let expected = certificate();
        let verifier = OnlyThisClient { certificate: expected.clone() };
        let verify = |shown: &CertificateDer<'_>| verifier.verify_client_cert(shown, &[], UnixTime::now());
        assert!(verify(&expected).is_ok());
        assert!(verify(&certificate()).is_err());
    }

    /// Goal: a signature of the curve that `ring` lacks is verified, and a wrong one refused.
    #[test]
    fn p521_signatures_are_verified() {
        use p521::ecdsa::SigningKey;
        use p521::ecdsa::signature::Signer;
        let mut scalar = [1; 66];
        scalar[0] = 0;
        let key = SigningKey::from_slice(&scalar).expect("a number below the order of the curve");
        let signature: Signature = key.sign(b"handshake");
        let public = VerifyingKey::from(&key).to_encoded_point(false);
        let verify = |message: &[u8]| {
            P521Sha512.verify_signature(public.as_bytes(), message, signature.to_der().as_bytes()).is_ok()
        };
        assert!(verify(b"handshake"));
        assert!(!verify(b"Handshake"));
    }
}
