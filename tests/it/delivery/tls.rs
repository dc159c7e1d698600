//! Delivery over TLS: to a receiver for whom an authority vouches that is trusted, and to no other.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::delivery::support::{CANARY, Receiver, change, delivered, receiver, sink};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{Project, write_file};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A receiver with a certificate by that authority.
fn receiver_by(authority: &Authority, name: &str, change: fn(&mut CertificateParams)) -> Receiver {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let config = Arc::new(config);
    let make = move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config));
        Ok(StreamOwned::new(connection.map_err(std::io::Error::other)?, stream))
    };
    Receiver::start_by("127.0.0.1:0", &[CANARY], |_| {}, make).unwrap()
}

fn as_it_is(_: &mut CertificateParams) {}

/// The configuration for a receiver by its name.
fn text(project: &Project, receiver: &Receiver, more: &str) -> String {
    let origin = format!("https://localhost:{}", receiver.address.port());
    project.webhook_text(&origin, more)
}

#[track_caller]
fn refused(daemon: &Daemon, why: &str) {
    wait_for(&format!("{why}: {:#}", sink(daemon)), || {
        let sink = sink(daemon);
        let said = sink["last_error"].as_str()?;
        (sink["state"] == "retrying" && said.contains(why)).then_some(())
    });
}

#[test]
fn a_receiver_is_believed_by_an_authority_that_is_trusted() {
    let authority = authority("ours");
    let project = Project::complete();
    let ca_file = project.home().join("ca.pem");
    write_file(&ca_file, authority.pem().as_bytes());
    // Named in the configuration, or in the environment.
    let named = format!("  ca_file: {}\n", ca_file.display());
    for (more, project) in
        [(named.as_str(), &project), ("", &Project::complete().env("SSL_CERT_FILE", &ca_file))]
    {
        project.secret(CANARY);
        for form in ["", "  batch: 50\n  gzip: true\n"] {
            let receiver = receiver_by(&authority, "localhost", as_it_is);
            project.reconfigure(&text(project, &receiver, &format!("{more}{form}")));
            let daemon = project.start_daemon();
            change(project, &format!("over TLS{form}"));
            daemon.status();
            wait_for("delivery", || {
                let status = daemon.get_json("/api/status");
                (status["delivery"][0]["cursor"] == status["seq"]).then_some(())
            });
            let kept = receiver.kept();
            assert_eq!(kept.wrong, [] as [String; 0]);
            assert!(!kept.events.is_empty());
            drop(kept);
            daemon.stop();
        }
    }
}

#[test]
fn no_one_else_is_believed() {
    let (ours, others) = (authority("ours"), authority("others"));
    let project = Project::complete();
    project.secret(CANARY);
    let ca_file = project.home().join("ca.pem");
    let more = format!("  ca_file: {}\n", ca_file.display());
    let expired = |params: &mut CertificateParams| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    };
    let plain = receiver();
    let cases = [
        (receiver_by(&others, "localhost", as_it_is), "name its authority by `ca_file`"),
        (receiver_by(&ours, "example.org", as_it_is), "not valid for name"),
        (receiver_by(&ours, "localhost", expired), "expired"),
        (plain, "no TLS"),
    ];
    write_file(&ca_file, ours.pem().as_bytes());
    project.reconfigure(&text(&project, &cases[0].0, &more));
    let daemon = project.start_daemon();
    for (receiver, why) in &cases {
        project.reconfigure(&text(&project, receiver, &more));
        refused(&daemon, why);
        assert_eq!(receiver.kept().requests, 0, "{why}: nothing was sent");
    }
    // A file that names nobody, and one that is mended while the daemon runs.
    let good = receiver_by(&others, "localhost", as_it_is);
    write_file(&ca_file, b"nobody");
    project.reconfigure(&text(&project, &good, &more));
    refused(&daemon, "no certificate in PEM form");
    write_file(&ca_file, others.pem().as_bytes());
    delivered(&daemon, &good);
    daemon.stop();
}
