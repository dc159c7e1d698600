//! A receiver built with other libraries, `standardwebhooks` and the `CloudEvents` SDK from npm:
//! runs `tests/receiver`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use crate::delivery::support::{CANARY, change_features, journal};
use crate::support::wait::{WAIT_TIMEOUT, wait_for};
use crate::support::{Project, not_run, repository};

/// A running receiver; killed when dropped.
struct NodeReceiver {
    child: Child,
    port: u16,
    lines: Receiver<Value>,
}

impl NodeReceiver {
    /// Starts the receiver; returns `None` and reports it if a requirement is missing.
    fn start() -> Option<Self> {
        let dir = repository().join("tests/receiver");
        let node = Command::new("node").arg("--version").output();
        let requirements = [
            (node.is_ok_and(|output| output.status.success()), "no `node`"),
            (
                dir.join("node_modules/standardwebhooks").is_dir(),
                "`npm ci` in tests/receiver was not run",
            ),
        ];
        if let Some((_, why)) = requirements.iter().find(|(is_met, _)| !is_met) {
            assert!(std::env::var_os("CI").is_none(), "{why}; CI requires it");
            not_run(&format!("an independent receiver ({why})"));
            return None;
        }
        let mut command = Command::new("node");
        command.arg("receiver.mjs").current_dir(dir).env("HOOK_SECRET", CANARY);
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let (sender, lines) = channel();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut line = String::new();
            while stdout.read_line(&mut line).is_ok_and(|read| read > 0) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
                line.clear();
            }
        });
        let port: Value = lines.recv_timeout(WAIT_TIMEOUT).unwrap();
        Some(Self { child, port: port.as_u64().unwrap().try_into().unwrap(), lines })
    }
}

impl Drop for NodeReceiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn other_libraries_verify_and_parse_all_requests() {
    for format in ["", "  batch: 7\n  gzip: true\n", "  format: envelope\n"] {
        let Some(receiver) = NodeReceiver::start() else {
            return;
        };
        let project = Project::complete();
        project.write_secret(CANARY);
        let origin = format!("http://127.0.0.1:{}", receiver.port);
        project.replace_config(&project.webhook_config(&origin, format));
        let daemon = project.start_daemon();
        change_features(&project, "other libraries");
        daemon.status();
        wait_for("all events to be delivered", || {
            let status = daemon.get_json("/api/status");
            (status["delivery"][0]["cursor"] == status["seq"]).then_some(())
        });
        let journal = journal(&daemon);
        let mut deliveries: Vec<Value> =
            journal.iter().map(|_| receiver.lines.recv_timeout(WAIT_TIMEOUT).unwrap()).collect();
        deliveries.sort_by_key(|event| event["data"]["seq"].as_u64());
        for (event, sent) in deliveries.iter().zip(&journal) {
            assert_eq!(event["data"], *sent, "{event:#}");
            if format.contains("envelope") {
                continue;
            }
            let text = |name: &str| sent[name].as_str().unwrap();
            assert_eq!(event["id"], sent["event_id"]);
            assert_eq!(event["type"], sent["event_type"]);
            assert_eq!(event["source"], format!("urn:dossierd:{}", text("root_id")));
            assert_eq!(event["subject"], sent["feature_slug"]);
            assert_eq!(event["time"], sent["emitted_at"]);
            assert_eq!(event["sequence"], format!("{:020}", sent["seq"].as_u64().unwrap()));
            let partition = format!("{}/{}", text("root_id"), text("feature_slug"));
            assert_eq!(event["partitionkey"], partition);
        }
        daemon.stop();

        // The receiver rejects an invalid signature.
        let mut stream = TcpStream::connect(("127.0.0.1", receiver.port)).unwrap();
        let now = dossierd::core::time::Timestamp::from(std::time::SystemTime::now());
        write!(
            stream,
            "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
             webhook-id: 1\r\nwebhook-timestamp: {}\r\nwebhook-signature: v1,AAAA\r\n\
             content-length: 2\r\n\r\n{{}}",
            now.as_millis() / 1_000
        )
        .unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 401"), "{response}");
        let error = receiver.lines.recv_timeout(WAIT_TIMEOUT).unwrap();
        assert!(error["error"].as_str().is_some_and(|text| text.contains("signature")), "{error}");
    }
}
