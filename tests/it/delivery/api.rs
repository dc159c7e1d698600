//! What is answered about delivery is what the API's description says, however delivery stands.

use crate::api::openapi::{assert_documented, document};
use crate::delivery::support::{Mood, change, receiver, sink};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project};

/// Holds every answer to what is said of it.
fn all(daemon: &Daemon, bodies: &[&str]) {
    let document = document(daemon);
    for address in ["/api/delivery", "/api/delivery?nonsense=1", "/api/status"] {
        let path = address.split('?').next().unwrap();
        assert_documented(&document, "GET", path, &daemon.get(address));
    }
    for address in ["/api/delivery/retry", "/api/delivery/drop"] {
        for body in bodies {
            assert_documented(&document, "POST", address, &daemon.request("POST", address, body));
        }
    }
}

#[test]
fn answers_about_delivery_are_as_described() {
    let large = " ".repeat(70_000);
    let bodies =
        ["", "{}", "[", "{\"ids\": []}", "{\"ids\": [\"none\"]}", "{\"all\": false}", &large];
    let receiver = receiver();
    let project = Project::complete();
    let daemon = project.start_daemon();
    all(&daemon, &bodies);
    daemon.stop();

    let project = project.webhook(&receiver, "");
    receiver.turn(Mood::Refuse(FEATURE.to_owned()));
    let daemon = project.start_daemon();
    wait_for("something set aside", || (sink(&daemon)["set_aside"].as_u64()? > 1).then_some(()));
    all(&daemon, &bodies);
    receiver.turn(Mood::Answer(503, String::new()));
    change(&project, "more");
    wait_for("something that waits", || (sink(&daemon)["state"] == "retrying").then_some(()));
    all(&daemon, &bodies);
    let list = daemon.get_json("/api/delivery");
    let id = list["set_aside"][0]["event_id"].as_str().unwrap();
    all(&daemon, &[&format!("{{\"ids\": [\"{id}\"]}}"), "{\"all\": true}"]);
    assert_eq!(daemon.get_json("/api/delivery")["set_aside"], serde_json::json!([]));
    daemon.stop();
}
