//! Delivery over TLS: only to a receiver with a valid certificate of a trusted authority.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::delivery::support::{
    CANARY, Receiver, change_features, sink, start_receiver, wait_for_delivery,
};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{Project, write_file};

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Creates a certificate authority.
fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Starts a receiver with a certificate of an authority; `change` modifies the certificate.
fn start_tls_receiver(
    authority: &Authority,
    name: &str,
    change: fn(&mut CertificateParams),
) -> Receiver {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let config = Arc::new(config);
    let accept = move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config));
        Ok(StreamOwned::new(connection.map_err(std::io::Error::other)?, stream))
    };
    Receiver::start_with("127.0.0.1:0", &[CANARY], |_| {}, accept).unwrap()
}

fn unchanged(_: &mut CertificateParams) {}

/// Returns the configuration for a receiver under the name `localhost`.
fn tls_config(project: &Project, receiver: &Receiver, more: &str) -> String {
    let origin = format!("https://localhost:{}", receiver.address.port());
    project.webhook_config(&origin, more)
}

/// Waits until delivery fails with an error that contains `expected`.
#[track_caller]
fn wait_for_error(daemon: &Daemon, expected: &str) {
    wait_for(&format!("the error `{expected}`: {:#}", sink(daemon)), || {
        let sink = sink(daemon);
        let error = sink["last_error"].as_str()?;
        (sink["state"] == "retrying" && error.contains(expected)).then_some(())
    });
}

#[test]
fn certificate_of_a_trusted_authority_is_accepted() {
    let authority = authority("ours");
    let project = Project::complete();
    let ca_file = project.home().join("ca.pem");
    write_file(&ca_file, authority.pem().as_bytes());
    // The authority is named in the configuration, or in the environment.
    let named = format!("  ca_file: {}\n", ca_file.display());
    for (more, project) in
        [(named.as_str(), &project), ("", &Project::complete().env("SSL_CERT_FILE", &ca_file))]
    {
        project.write_secret(CANARY);
        for format in ["", "  batch: 50\n  gzip: true\n"] {
            let receiver = start_tls_receiver(&authority, "localhost", unchanged);
            project.replace_config(&tls_config(project, &receiver, &format!("{more}{format}")));
            let daemon = project.start_daemon();
            change_features(project, &format!("over TLS{format}"));
            daemon.status();
            wait_for("delivery", || {
                let status = daemon.get_json("/api/status");
                (status["delivery"][0]["cursor"] == status["seq"]).then_some(())
            });
            let deliveries = receiver.received();
            assert_eq!(deliveries.errors, [] as [String; 0]);
            assert!(!deliveries.events.is_empty());
            drop(deliveries);
            daemon.stop();
        }
    }
}

#[test]
fn untrusted_certificate_or_plain_http_gets_no_request() {
    let (ours, others) = (authority("ours"), authority("others"));
    let project = Project::complete();
    project.write_secret(CANARY);
    let ca_file = project.home().join("ca.pem");
    let more = format!("  ca_file: {}\n", ca_file.display());
    let expired = |params: &mut CertificateParams| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    };
    let plain = start_receiver();
    let cases = [
        (
            start_tls_receiver(&others, "localhost", unchanged),
            "set `ca_file` to the certificate of its authority",
        ),
        (start_tls_receiver(&ours, "example.org", unchanged), "not valid for name"),
        (start_tls_receiver(&ours, "localhost", expired), "expired"),
        (plain, "TLS handshake failed"),
    ];
    write_file(&ca_file, ours.pem().as_bytes());
    project.replace_config(&tls_config(&project, &cases[0].0, &more));
    let daemon = project.start_daemon();
    for (receiver, error) in &cases {
        project.replace_config(&tls_config(&project, receiver, &more));
        wait_for_error(&daemon, error);
        assert_eq!(receiver.received().requests, 0, "{error}: nothing was sent");
    }
    // A file without a certificate, which is fixed while the daemon runs.
    let valid = start_tls_receiver(&others, "localhost", unchanged);
    write_file(&ca_file, b"none");
    project.replace_config(&tls_config(&project, &valid, &more));
    wait_for_error(&daemon, "no certificate in PEM form");
    write_file(&ca_file, others.pem().as_bytes());
    wait_for_delivery(&daemon, &valid);
    daemon.stop();
}
