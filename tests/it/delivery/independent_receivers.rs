//! What is delivered, as libraries read it that do not know of dossierd: `standardwebhooks` and the
//! SDK of `CloudEvents`, both from npm. Runs `tests/receiver`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use crate::delivery::support::{CANARY, change, journal};
use crate::support::wait::{WAIT_TIMEOUT, wait_for};
use crate::support::{Project, not_run, repository};

/// The receiver; ended when dropped.
struct Node {
    child: Child,
    port: u16,
    lines: Receiver<Value>,
}

impl Node {
    /// `None` where it cannot be had, which is said aloud.
    fn start() -> Option<Self> {
        let folder = repository().join("tests/receiver");
        let node = Command::new("node").arg("--version").output();
        let have = [
            (node.is_ok_and(|output| output.status.success()), "no `node`"),
            (
                folder.join("node_modules/standardwebhooks").is_dir(),
                "`npm ci` in tests/receiver was not run",
            ),
        ];
        if let Some((_, why)) = have.iter().find(|(have, _)| !have) {
            assert!(std::env::var_os("CI").is_none(), "{why}, and CI must not go without");
            not_run(&format!("an independent receiver ({why})"));
            return None;
        }
        let mut command = Command::new("node");
        command.arg("receiver.mjs").current_dir(folder).env("HOOK_SECRET", CANARY);
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let (said, lines) = channel();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut line = String::new();
            while out.read_line(&mut line).is_ok_and(|read| read > 0) {
                let _ = said.send(serde_json::from_str(&line).unwrap());
                line.clear();
            }
        });
        let port: Value = lines.recv_timeout(WAIT_TIMEOUT).unwrap();
        Some(Self { child, port: port.as_u64().unwrap().try_into().unwrap(), lines })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn others_verify_and_read_what_is_delivered() {
    for form in ["", "  batch: 7\n  gzip: true\n", "  format: envelope\n"] {
        let Some(node) = Node::start() else {
            return;
        };
        let project = Project::complete();
        project.secret(CANARY);
        let origin = format!("http://127.0.0.1:{}", node.port);
        project.reconfigure(&project.webhook_text(&origin, form));
        let daemon = project.start_daemon();
        change(&project, "for others");
        daemon.status();
        wait_for("delivery of everything", || {
            let status = daemon.get_json("/api/status");
            (status["delivery"][0]["cursor"] == status["seq"]).then_some(())
        });
        let journal = journal(&daemon);
        let mut got: Vec<Value> =
            journal.iter().map(|_| node.lines.recv_timeout(WAIT_TIMEOUT).unwrap()).collect();
        got.sort_by_key(|event| event["data"]["seq"].as_u64());
        for (event, sent) in got.iter().zip(&journal) {
            assert_eq!(event["data"], *sent, "{event:#}");
            if form.contains("envelope") {
                continue;
            }
            let text = |name: &str| sent[name].as_str().unwrap();
            assert_eq!(event["id"], sent["event_id"]);
            assert_eq!(event["type"], sent["event_type"]);
            assert_eq!(event["source"], format!("urn:dossierd:{}", text("root_id")));
            assert_eq!(event["subject"], sent["feature_slug"]);
            assert_eq!(event["time"], sent["emitted_at"]);
            assert_eq!(event["sequence"], format!("{:020}", sent["seq"].as_u64().unwrap()));
            let lane = format!("{}/{}", text("root_id"), text("feature_slug"));
            assert_eq!(event["partitionkey"], lane);
        }
        daemon.stop();

        // It does refuse what is not signed.
        let mut stream = TcpStream::connect(("127.0.0.1", node.port)).unwrap();
        let now = dossierd::core::time::Timestamp::from(std::time::SystemTime::now());
        write!(
            stream,
            "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
             webhook-id: 1\r\nwebhook-timestamp: {}\r\nwebhook-signature: v1,AAAA\r\n\
             content-length: 2\r\n\r\n{{}}",
            now.as_millis() / 1_000
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        let wrong = node.lines.recv_timeout(WAIT_TIMEOUT).unwrap();
        assert!(wrong["wrong"].as_str().is_some_and(|why| why.contains("signature")), "{wrong}");
    }
}
